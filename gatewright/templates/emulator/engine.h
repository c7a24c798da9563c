// From samples in rows to lanes and back: checks, conversions between real values and codes, transposition. Part of every emulator.
#pragma once
#include "lanes.h"

namespace GATEWRIGHT_DESIGN {
namespace GATEWRIGHT_VARIANT {

enum Rounding { EXACT, FLOOR, CEIL, DOWN, UP, ROUND, HALF_UP, HALF_DOWN, HALF_CEIL, HALF_FLOOR };
enum Overflow { REFUSE, SATURATE, WRAP };

// How real values become codes: value * scale (a power of two), rounded, brought into lo..hi.
struct Cast {
    double scale;
    Rounding rounding;
    Overflow overflow;
    double lo, hi;
};

GATEWRIGHT_INLINE double rounded(double y, Rounding mode) {
    const double below = __builtin_floor(y), rest = y - below; // both exact
    const bool tie = rest == 0.5, more = rest > 0.5;
    switch (mode) {
    case CEIL: return below + (rest > 0);
    case DOWN: return below + (rest > 0 && y < 0);
    case UP: return below + (rest > 0 && y > 0);
    case ROUND: return below + (more || (tie && __builtin_floor(below / 2) * 2 != below));
    case HALF_UP: return below + (more || (tie && y > 0));
    case HALF_DOWN: return below + (more || (tie && y < 0));
    case HALF_CEIL: return below + (more || tie);
    case HALF_FLOOR: return below + more;
    default: return below;
    }
}

// The code of a real value; `wrong` is made 1 where the type has none for it. No branches: loops of this become vector code.
GATEWRIGHT_INLINE double encode(double x, const Cast &cast, double &wrong) {
    const double y = x * cast.scale, r = rounded(y, cast.rounding);
    double code = r;
    wrong = __builtin_fabs(y) <= 1.7976931348623157e308 ? wrong : 1.0; // NaN and infinity
    if (cast.rounding == EXACT)
        wrong = r == y ? wrong : 1.0;
    if (cast.overflow == SATURATE) {
        code = code < cast.lo ? cast.lo : code;
        code = code > cast.hi ? cast.hi : code;
    } else if (cast.overflow == WRAP) {
        const double size = cast.hi - cast.lo + 1, moved = r - cast.lo;
        code = moved - __builtin_floor(moved / size) * size + cast.lo;
    }
    return code;
}

// A double that is an integer of type S; narrow ones by way of 32 bits, for which processors have an instruction.
template <class S> GATEWRIGHT_INLINE S whole(double x) { return sizeof(S) == 8 ? (S)x : (S)(int32_t)x; }

// One sample's elements as codes of type S; `bad` becomes other than 0 where one does not lie in lo..hi.
template <class S, class T>
GATEWRIGHT_INLINE void read_row(const T *x, S *row, S *bad, int elements, const S *lo, const S *hi, const Cast &) {
    for (int e = 0; e < elements; e++) {
        const S code = (S)x[e];
        bad[e] |= (S)(((T)code != x[e]) | (code < lo[e]) | (code > hi[e]));
        row[e] = code;
    }
}
template <class S>
GATEWRIGHT_INLINE void read_reals(const double *x, S *row, S *bad, int elements, const S *lo, const S *hi, const Cast &cast) {
    enum { SOME = 64 };
    for (int first = 0; first < elements; first += SOME) {
        const int some = elements - first < SOME ? elements - first : SOME;
        double code[SOME], wrong[SOME];
        for (int i = 0; i < some; i++) {
            const int e = first + i;
            double w = 0, c = encode(x[e], cast, w);
            w = c >= (double)lo[e] ? w : 1.0;
            w = c <= (double)hi[e] ? w : 1.0;
            code[i] = w == 0.0 ? c : 0.0;
            wrong[i] = w;
        }
        for (int i = 0; i < some; i++) {
            row[first + i] = whole<S>(code[i]);
            bad[first + i] |= whole<S>(wrong[i]);
        }
    }
}
template <class S>
GATEWRIGHT_INLINE void read_row(const double *x, S *row, S *bad, int elements, const S *lo, const S *hi, const Cast &cast) {
    // The usual types get loops of their own, which the compiler vectorises.
    if (cast.rounding == EXACT && cast.overflow == REFUSE)
        read_reals(x, row, bad, elements, lo, hi, Cast{cast.scale, EXACT, REFUSE, cast.lo, cast.hi});
    else if (cast.rounding == ROUND && cast.overflow == SATURATE)
        read_reals(x, row, bad, elements, lo, hi, Cast{cast.scale, ROUND, SATURATE, cast.lo, cast.hi});
    else
        read_reals(x, row, bad, elements, lo, hi, cast);
}
template <class S>
GATEWRIGHT_INLINE void read_row(const float *x, S *row, S *bad, int elements, const S *lo, const S *hi, const Cast &cast) {
    for (int e = 0; e < elements; e += 64) {
        double wide[64];
        const int some = elements - e < 64 ? elements - e : 64;
        for (int i = 0; i < some; i++)
            wide[i] = x[e + i];
        read_row(wide, row + e, bad + e, some, lo + e, hi + e, cast);
    }
}

// What the codes of an output mean: value = code * scale + offset, one pair for all elements (step 0) or one each (step 1).
struct Meaning {
    const double *scale, *offset;
    int step;
};

template <class S, class T> GATEWRIGHT_INLINE void write_row(const S *row, T *y, int elements, const Meaning &) {
    for (int e = 0; e < elements; e++)
        y[e] = (T)row[e];
}
template <class S> GATEWRIGHT_INLINE void write_row(const S *row, double *y, int elements, const Meaning &m) {
    for (int e = 0; e < elements; e++)
        y[e] = (double)row[e] * m.scale[e * m.step] + m.offset[e * m.step];
}
template <class S> GATEWRIGHT_INLINE void write_row(const S *row, float *y, int elements, const Meaning &m) {
    for (int e = 0; e < elements; e++)
        y[e] = (float)((double)row[e] * m.scale[e * m.step] + m.offset[e * m.step]);
}

// Transposition of square tiles of registers: in log2(N) rounds, the registers of the two halves are interleaved.
template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { using Type = Indices<I...>; };

template <class T> struct Tile {
    enum { N = REGISTER / (int)sizeof(T) };
    typedef T V __attribute__((vector_size(REGISTER)));
    V r[N];
};
template <class T, int HIGH, int... I>
GATEWRIGHT_INLINE typename Tile<T>::V interleave(typename Tile<T>::V x, typename Tile<T>::V y, Indices<I...>) {
    enum { N = Tile<T>::N };
#if defined(__clang__)
    return __builtin_shufflevector(x, y, ((I & 1) * N + I / 2 + HIGH * N / 2)...);
#else
    typedef typename Tile<T>::V V;
    return __builtin_shuffle(x, y, V{(T)((I & 1) * N + I / 2 + HIGH * N / 2)...});
#endif
}
template <class T> GATEWRIGHT_INLINE void transpose(Tile<T> &tile) {
    enum { N = Tile<T>::N };
    typename Count<N>::Type indices;
    for (int round = 1; round < N; round *= 2) {
        Tile<T> next;
        for (int i = 0; i < N / 2; i++) {
            next.r[2 * i] = interleave<T, 0>(tile.r[i], tile.r[i + N / 2], indices);
            next.r[2 * i + 1] = interleave<T, 1>(tile.r[i], tile.r[i + N / 2], indices);
        }
        tile = next;
    }
}

// Rows of elements, `padded` apart (a multiple of LANES), to lanes and back. L: lanes of the port.
template <class L, class S = typename L::Value> static void to_lanes(const S *rows, L *lanes, int elements, int padded) {
    enum { N = Tile<S>::N };
    for (int group = 0; group < LANES / N; group++)
        for (int first = 0; first < elements; first += N) {
            Tile<S> tile;
            for (int i = 0; i < N; i++)
                memcpy(&tile.r[i], rows + (group * N + i) * padded + first, REGISTER);
            transpose(tile);
            for (int i = 0; i < N && first + i < elements; i++)
                memcpy((char *)(lanes + first + i) + group * REGISTER, &tile.r[i], REGISTER);
        }
}
template <class L, class S = typename L::Value> static void to_rows(const L *lanes, S *rows, int elements, int padded) {
    enum { N = Tile<S>::N };
    for (int group = 0; group < LANES / N; group++)
        for (int first = 0; first < elements; first += N) {
            Tile<S> tile = {};
            for (int i = 0; i < N && first + i < elements; i++)
                memcpy(&tile.r[i], (const char *)(lanes + first + i) + group * REGISTER, REGISTER);
            transpose(tile);
            for (int i = 0; i < N; i++)
                memcpy(rows + (group * N + i) * padded + first, &tile.r[i], REGISTER);
        }
}

template <class S> GATEWRIGHT_INLINE bool any(const S *values, int elements) {
    S found = 0;
    for (int e = 0; e < elements; e++)
        found |= values[e];
    return found;
}

// A block of at most LANES samples into lanes; returns how many of them, from the first, can be represented.
template <class L, class T, int E>
static int load(const T *x, int samples, L *lanes, const typename L::Value *lo, const typename L::Value *hi, const Cast &cast) {
    using S = typename L::Value;
    enum { PADDED = (E + LANES - 1) / LANES * LANES };
    alignas(64) S rows[LANES * PADDED];
    int good = samples;
    S bad[E] = {};
    for (int i = 0; i < samples; i++)
        read_row(x + (size_t)i * E, rows + i * PADDED, bad, E, lo, hi, cast);
    if (any(bad, E)) { // rarely: sample by sample, up to the first that is bad
        memset(bad, 0, sizeof bad);
        for (good = 0; good < samples; good++) {
            read_row(x + (size_t)good * E, rows + good * PADDED, bad, E, lo, hi, cast);
            if (any(bad, E))
                break;
        }
    }
    for (int i = good; i < LANES; i++)
        memset(rows + i * PADDED, 0, sizeof(S) * E);
    to_lanes(rows, lanes, E, PADDED);
    return good;
}
template <class L, class T, int E> static void store(const L *lanes, T *y, int samples, const Meaning &meaning) {
    using S = typename L::Value;
    enum { PADDED = (E + LANES - 1) / LANES * LANES };
    alignas(64) S rows[LANES * PADDED];
    to_rows(lanes, rows, E, PADDED);
    for (int i = 0; i < samples; i++)
        write_row(rows + i * PADDED, y + (size_t)i * E, E, meaning);
}

} // namespace GATEWRIGHT_VARIANT
} // namespace GATEWRIGHT_DESIGN
