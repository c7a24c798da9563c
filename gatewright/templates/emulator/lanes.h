// Lanes of samples: one operation on a value works on all samples of a block at once. Integers only, and sums and products wrap
// modulo their width, as the values that the hardware keeps do. Needs GCC 9 or newer, or Clang. Part of every emulator.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512BW__)
#define GATEWRIGHT_REGISTER 64
#elif defined(__AVX2__)
#define GATEWRIGHT_REGISTER 32
#else
#define GATEWRIGHT_REGISTER 16
#endif
#define GATEWRIGHT_INLINE static inline __attribute__((always_inline))

// One variant (instruction set) of one design: no inline function is shared between objects that are compiled for different ones.
namespace GATEWRIGHT_DESIGN {
namespace GATEWRIGHT_VARIANT {

enum { REGISTER = GATEWRIGHT_REGISTER, LANES = REGISTER / 2 };

// One<T>: a register of T. Two<H>: twice as many lanes. Lanes of 16, 32 and 64 bits hold the same number of samples.
template <class T> struct One {
    using Value = T;
    typedef T V __attribute__((vector_size(REGISTER)));
    V v;
};
template <class H> struct Two {
    using Value = typename H::Value;
    H a, b;
};
using L16 = One<int16_t>;
using L32 = Two<One<int32_t>>;
using L64 = Two<Two<One<int64_t>>>;

template <class T> struct Unsigned;
template <> struct Unsigned<int16_t> { typedef uint16_t V __attribute__((vector_size(REGISTER))); };
template <> struct Unsigned<int32_t> { typedef uint32_t V __attribute__((vector_size(REGISTER))); };
template <> struct Unsigned<int64_t> { typedef uint64_t V __attribute__((vector_size(REGISTER))); };

#define GATEWRIGHT_BINARY(name, expression)                                                       \
    template <class T> GATEWRIGHT_INLINE One<T> name(One<T> x, One<T> y) {                        \
        typedef typename One<T>::V V;                                                             \
        typedef typename Unsigned<T>::V U;                                                        \
        (void)sizeof(U);                                                                          \
        return {(V)(expression)};                                                                 \
    }                                                                                             \
    template <class H> GATEWRIGHT_INLINE Two<H> name(Two<H> x, Two<H> y) { return {name(x.a, y.a), name(x.b, y.b)}; }
GATEWRIGHT_BINARY(operator+, (U)x.v + (U)y.v)
GATEWRIGHT_BINARY(operator-, (U)x.v - (U)y.v)
GATEWRIGHT_BINARY(operator*, (U)x.v * (U)y.v)
GATEWRIGHT_BINARY(operator&, x.v & y.v)
GATEWRIGHT_BINARY(ge, x.v >= y.v) // comparisons give 0 or -1
GATEWRIGHT_BINARY(eq, x.v == y.v)
#undef GATEWRIGHT_BINARY

template <class T> GATEWRIGHT_INLINE One<T> operator<<(One<T> x, int n) {
    return {(typename One<T>::V)((typename Unsigned<T>::V)x.v << n)};
}
template <class T> GATEWRIGHT_INLINE One<T> operator>>(One<T> x, int n) { return {x.v >> n}; }
template <class H> GATEWRIGHT_INLINE Two<H> operator<<(Two<H> x, int n) { return {x.a << n, x.b << n}; }
template <class H> GATEWRIGHT_INLINE Two<H> operator>>(Two<H> x, int n) { return {x.a >> n, x.b >> n}; }

// m is 0 or -1 in every lane.
template <class T> GATEWRIGHT_INLINE One<T> choose(One<T> m, One<T> x, One<T> y) { return {m.v ? x.v : y.v}; }
template <class H> GATEWRIGHT_INLINE Two<H> choose(Two<H> m, Two<H> x, Two<H> y) {
    return {choose(m.a, x.a, y.a), choose(m.b, x.b, y.b)};
}

template <class T> GATEWRIGHT_INLINE void fill(One<T> &y, T value) { y.v = value - typename One<T>::V{}; }
template <class H> GATEWRIGHT_INLINE void fill(Two<H> &y, typename H::Value value) { fill(y.a, value), fill(y.b, value); }
template <class L> GATEWRIGHT_INLINE L all(int64_t value) {
    L y;
    fill(y, (typename L::Value)value);
    return y;
}

template <class T> struct Wider;
template <> struct Wider<int16_t> { using Type = int32_t; };
template <> struct Wider<int32_t> { using Type = int64_t; };
template <class T> struct Narrower;
template <> struct Narrower<int32_t> { using Type = int16_t; };
template <> struct Narrower<int64_t> { using Type = int32_t; };

template <class T> GATEWRIGHT_INLINE Two<One<typename Wider<T>::Type>> widen(One<T> x) {
    typedef T Half __attribute__((vector_size(REGISTER / 2)));
    typedef typename One<typename Wider<T>::Type>::V W;
    Half half[2];
    memcpy(half, &x.v, REGISTER);
    return {{__builtin_convertvector(half[0], W)}, {__builtin_convertvector(half[1], W)}};
}
template <class T> GATEWRIGHT_INLINE One<typename Narrower<T>::Type> narrow(Two<One<T>> x) {
    typedef typename Narrower<T>::Type N;
    typedef N Half __attribute__((vector_size(REGISTER / 2)));
    Half half[2] = {__builtin_convertvector(x.a.v, Half), __builtin_convertvector(x.b.v, Half)};
    One<N> y;
    memcpy(&y.v, half, REGISTER);
    return y;
}
GATEWRIGHT_INLINE L16 to16(L16 x) { return x; }
GATEWRIGHT_INLINE L16 to16(L32 x) { return narrow(x); }
GATEWRIGHT_INLINE L32 to32(L16 x) { return widen(x); }
GATEWRIGHT_INLINE L32 to32(L32 x) { return x; }
GATEWRIGHT_INLINE L32 to32(L64 x) { return {narrow(x.a), narrow(x.b)}; }
GATEWRIGHT_INLINE L16 to16(L64 x) { return narrow(to32(x)); }
GATEWRIGHT_INLINE L64 to64(L32 x) { return {widen(x.a), widen(x.b)}; }
GATEWRIGHT_INLINE L64 to64(L16 x) { return to64(widen(x)); }
GATEWRIGHT_INLINE L64 to64(L64 x) { return x; }

// table[x - base] in every lane.
template <class L, class X> GATEWRIGHT_INLINE L look(const typename L::Value *table, X x, int64_t base) {
    typename X::Value at[LANES];
    typename L::Value found[LANES];
    memcpy(at, &x, sizeof at);
    for (int i = 0; i < LANES; i++)
        found[i] = table[at[i] - base];
    L y;
    memcpy(&y, found, sizeof y);
    return y;
}

} // namespace GATEWRIGHT_VARIANT
} // namespace GATEWRIGHT_DESIGN
