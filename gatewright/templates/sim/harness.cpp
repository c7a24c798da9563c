// Drives a verilated design cycle by cycle: CONTROL INPUTS OUTPUTS SEED
//
// CONTROL  one byte a cycle: bit 0 is in_valid, bit 1 is rst, bit 2 says that the next vector of INPUTS is driven.
//          In all other cycles the input bus carries garbage: random words, or the last vector inverted.
// INPUTS   vectors of 32-bit words.
// OUTPUTS  written: for every cycle that ends with out_valid, its number and the words of the output bus.
//
// The outputs are looked at just before the next clock edge, with the next inputs already applied, as a register behind them would
// look. Registers start with random contents. Standard output tells the progress, one cycle number a line.
#include "Vdut.h"
#include "verilated.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

static uint64_t random_state;

static uint32_t random_word() {  // xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016)
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return uint32_t((random_state * 0x2545F4914F6CDD1Dull) >> 32);
}

static void stop(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
}

static std::FILE* open_file(const char* path, const char* mode) {
    std::FILE* file = std::fopen(path, mode);
    if (!file) stop(std::string("cannot open ") + path);
    return file;
}

static std::vector<uint8_t> read_control(const char* path) {
    std::FILE* file = open_file(path, "rb");
    std::vector<uint8_t> control;
    uint8_t buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) control.insert(control.end(), buffer, buffer + n);
    std::fclose(file);
    return control;
}

int main(int argc, char** argv) {
    if (argc != 5) stop("usage: CONTROL INPUTS OUTPUTS SEED");
    const std::vector<uint8_t> control = read_control(argv[1]);
    std::FILE* inputs = open_file(argv[2], "rb");
    std::FILE* outputs = open_file(argv[3], "wb");
    const int seed = std::atoi(argv[4]);
    random_state = uint64_t(seed) * 2654435761u + 1;

    VerilatedContext context;
    context.randReset(2);
    context.randSeed(seed + 1);  // 0 would take the time of day
    Vdut dut(&context);
    uint8_t* const in_data = reinterpret_cast<uint8_t*>(&dut.in_data[0]);
    constexpr size_t in_bytes = sizeof dut.in_data, out_bytes = sizeof dut.out_data;
    std::vector<uint32_t> vector(in_bytes / 4, 0);

    const auto record = [&](uint32_t cycle) {
        if (!dut.out_valid) return;
        if (std::fwrite(&cycle, 4, 1, outputs) != 1 || std::fwrite(&dut.out_data[0], out_bytes, 1, outputs) != 1) stop("the disk is full");
    };
    const auto drive = [&](uint8_t bits) {
        dut.in_valid = bits & 1;
        dut.rst = bits >> 1 & 1;
        if (bits & 4) {
            if (std::fread(vector.data(), in_bytes, 1, inputs) != 1) stop("fewer vectors than cycles that drive one");
            std::memcpy(in_data, vector.data(), in_bytes);
        } else {
            const bool invert = random_word() & 1;
            for (size_t i = 0; i < vector.size(); ++i) dut.in_data[i] = invert ? ~vector[i] : random_word();
        }
    };

    const size_t step = control.size() / 100 + 1;
    for (size_t cycle = 0; cycle < control.size(); ++cycle) {
        drive(control[cycle]);
        dut.clk = 0;
        dut.eval();
        if (cycle) record(uint32_t(cycle - 1));
        dut.clk = 1;
        dut.eval();
        if (context.gotFinish()) stop("the design stopped the simulation");
        if (cycle % step == 0) {
            std::printf("%zu\n", cycle);
            std::fflush(stdout);
        }
    }
    drive(0);
    dut.clk = 0;
    dut.eval();
    if (!control.empty()) record(uint32_t(control.size() - 1));
    dut.final();
    if (std::fclose(outputs)) stop("the disk is full");
    return 0;
}
