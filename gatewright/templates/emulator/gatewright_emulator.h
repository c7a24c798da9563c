/* The C interface of every emulator that gatewright makes. All functions may be called from several threads at once. */
#ifndef GATEWRIGHT_EMULATOR_H
#define GATEWRIGHT_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GATEWRIGHT_EMULATOR_ABI 1

/* An input or an output. Arrays hold `elements` numbers a sample, in C order of `shape`, sample after sample. */
typedef struct gatewright_port {
    const char *name;    /* the model's tensor */
    const char *type;    /* of the codes on the bus: "fixed<8,4>", or "ufixed<W,I>" */
    const char *formula; /* what a code means */
    const size_t *shape;
    size_t rank, elements;
    int width, is_signed, frac; /* of the codes */
} gatewright_port;

/*
 * An emulator. run_T(inputs, outputs, samples, threads): one array for every port, in the order of `input` and `output`; threads 0
 * uses all processors. It returns how many samples were computed: fewer than asked where the next sample has an input that its type
 * does not hold; nothing is written for that sample, while later ones may or may not have been computed.
 * i16, i32, i64: integer codes. f32, f64: real values; results are code * scale + offset in double precision.
 * A function is NULL where its type cannot hold the codes, or (f32, f64) where an input is quantised by a scale that is no power of
 * two, which floating-point arithmetic would not do exactly.
 */
typedef struct gatewright_emulator {
    int abi; /* GATEWRIGHT_EMULATOR_ABI */
    const char *name;
    const char *version;    /* SHA-256 of model, options and compiler; the firmware has the same */
    const char *gatewright; /* version of gatewright */
    int latency_cycles;     /* of the firmware */
    size_t inputs, outputs;
    const gatewright_port *input, *output;
    size_t (*run_i16)(const int16_t *const *inputs, int16_t *const *outputs, size_t samples, unsigned threads);
    size_t (*run_i32)(const int32_t *const *inputs, int32_t *const *outputs, size_t samples, unsigned threads);
    size_t (*run_i64)(const int64_t *const *inputs, int64_t *const *outputs, size_t samples, unsigned threads);
    size_t (*run_f32)(const float *const *inputs, float *const *outputs, size_t samples, unsigned threads);
    size_t (*run_f64)(const double *const *inputs, double *const *outputs, size_t samples, unsigned threads);
} gatewright_emulator;

#ifdef __cplusplus
}
#endif
#endif
