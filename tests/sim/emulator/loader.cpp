// Loads modules as CMS's software does, all of them side by side, and runs one sample after the other through each in turn.
// loader (MODULE INPUTS.f64 OUTPUTS.f64 ELEMENTS OUTPUT_ELEMENTS,...)...
#include "emulator.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Module {
    hls4mlEmulator::Model *model;
    void (*destroy)(hls4mlEmulator::Model *);
    std::vector<double> data, results;
    std::size_t elements;
    std::vector<std::size_t> outputs;
    std::string path;
};

static std::vector<double> read(const char *path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    std::vector<double> values(file.tellg() / sizeof(double));
    file.seekg(0).read(reinterpret_cast<char *>(values.data()), values.size() * sizeof(double));
    return values;
}

int main(int count, char **arguments) {
    std::vector<Module> modules;
    for (int i = 1; i + 4 < count; i += 5) {
        void *library = dlopen(arguments[i], RTLD_LAZY | RTLD_LOCAL);
        if (!library)
            throw std::runtime_error(dlerror());
        auto create = reinterpret_cast<hls4mlEmulator::Model *(*)()>(dlsym(library, "create_model"));
        auto destroy = reinterpret_cast<void (*)(hls4mlEmulator::Model *)>(dlsym(library, "destroy_model"));
        Module module{create(), destroy, read(arguments[i + 1]), {}, std::strtoul(arguments[i + 3], nullptr, 10), {}, arguments[i + 2]};
        for (char *at = arguments[i + 4]; *at; at += *at == ',')
            module.outputs.push_back(std::strtoul(at, &at, 10));
        modules.push_back(module);
    }
    for (std::size_t sample = 0, busy = 1; busy; sample++) {
        busy = 0;
        for (Module &m : modules) {
            if ((sample + 1) * m.elements > m.data.size())
                continue;
            busy = 1;
            m.model->prepare_input(&m.data[sample * m.elements]);
            m.model->predict();
            std::vector<std::vector<double>> values;
            std::vector<std::any> places;
            for (std::size_t n : m.outputs)
                values.emplace_back(n);
            for (auto &v : values)
                places.emplace_back(v.data());
            m.model->read_result(places.size() == 1 ? places[0] : std::any(places));
            for (const auto &v : values)
                m.results.insert(m.results.end(), v.begin(), v.end());
        }
    }
    for (Module &m : modules) {
        std::ofstream(m.path, std::ios::binary).write(reinterpret_cast<char *>(m.results.data()), m.results.size() * sizeof(double));
        m.destroy(m.model);
    }
}
