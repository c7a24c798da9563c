/* A program in C that links an installed emulator: prints what it is, and the codes of one sample of zeros. */
#include <dut_emulator.h>
#include <stdio.h>

int main(void) {
    const gatewright_emulator *e = dut_emulator();
    int64_t in[2][64] = {{0}}, out[2][64];
    const int64_t *inputs[2] = {in[0], in[1]};
    int64_t *outputs[2] = {out[0], out[1]};
    size_t done = e->run_i64(inputs, outputs, 1, 1);
    printf("%s %s %d %zu\n", e->name, e->version, e->latency_cycles, done);
    for (size_t p = 0; p < e->outputs; p++) {
        printf("%s %s", e->output[p].name, e->output[p].type);
        for (size_t i = 0; i < e->output[p].elements; i++)
            printf(" %lld", (long long)out[p][i]);
        printf("\n");
    }
    return 0;
}
