/* A FAKE libnvidia-ml.so.1, for tests only: no NVIDIA code, no GPU behind it.
 *
 * The real nvidia-ml-py loads it and so runs its real code. It plays a machine of two GPUs: GPU 0 is
 * whole, GPU 1 is in MIG mode with slices 0 and 2 (there is no slice 1). Signatures and struct
 * layouts follow NVIDIA's public API reference (docs.nvidia.com/deploy/nvml-api).
 *
 * FAKE_NVML chooses what goes wrong:
 *   (unset)      nothing beyond what a real machine refuses too
 *   not-loaded, mismatch, forbidden    nvmlInit fails
 *   empty        no GPUs
 *   lost         GPU 0 has fallen off the bus
 *   bare         every figure but name and UUID is refused
 *   old          calls newer than a few years are missing or refused
 *   idle         no processes
 * FAKE_NVML_PID names a process on GPU 0 and on slice 0 of GPU 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15,
    LIB_RM_VERSION_MISMATCH = 18,
};

#define NOT_AVAILABLE (~0ull)
#define GIB (1ull << 30)

typedef struct device {
    int gpu, slice; /* slice -1: the whole GPU */
    const char *name, *uuid;
    unsigned long long total, used;
} device;

static device gpus[2] = {
    {0, -1, "FAKE H200", "GPU-00000000-fake-0000-0000-000000000000", 141 * GIB, 20 * GIB},
    {1, -1, "FAKE H200", "GPU-11111111-fake-0000-0000-000000000000", 141 * GIB, 3 * GIB},
};
static device slices[3] = {
    {1, 0, "FAKE H200 MIG 1g.18gb", "MIG-aaaaaaaa-fake-0000-0000-000000000000", 18 * GIB, 2 * GIB},
    {1, 1, NULL, NULL, 0, 0},
    {1, 2, "FAKE H200 MIG 2g.35gb", "MIG-cccccccc-fake-0000-0000-000000000000", 35 * GIB, 0},
};

static int mode(const char *name) {
    const char *chosen = getenv("FAKE_NVML");
    return chosen && !strcmp(chosen, name);
}

static unsigned process(void) {
    const char *pid = getenv("FAKE_NVML_PID");
    return pid && !mode("idle") ? (unsigned)atoi(pid) : 0;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (mode("not-loaded")) return DRIVER_NOT_LOADED;
    if (mode("mismatch")) return LIB_RM_VERSION_MISMATCH;
    if (mode("forbidden")) return NO_PERMISSION;
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "fake"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = mode("empty") ? 0 : 2;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **handle) {
    if (index > 1) return INVALID_ARGUMENT;
    if (index == 0 && mode("lost")) return GPU_IS_LOST;
    *handle = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(device *d, char *name, unsigned length) {
    snprintf(name, length, "%s", d->name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(device *d, char *uuid, unsigned length) {
    snprintf(uuid, length, "%s", d->uuid);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    if (mode("bare") || mode("old")) return NOT_SUPPORTED;
    *current = *pending = d->gpu == 1;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) {
    *count = d->gpu == 1 ? 7 : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **handle) {
    if (d->gpu != 1 || index > 2 || !slices[index].name) return NOT_FOUND;
    *handle = &slices[index];
    return SUCCESS;
}

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(device *d, struct memory_v2 *m) {
    if (mode("bare")) return NOT_SUPPORTED;
    if (mode("old")) return FUNCTION_NOT_FOUND;
    m->total = d->total;
    m->used = d->used;
    m->reserved = GIB / 2;
    m->free = m->total - m->used - m->reserved;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device *d, struct memory *m) {
    if (mode("bare")) return NOT_SUPPORTED;
    m->total = d->total;
    m->used = d->used + GIB / 2; /* this version counts the reserved as used */
    m->free = m->total - m->used;
    return SUCCESS;
}

struct rates { unsigned gpu, memory; };

int nvmlDeviceGetUtilizationRates(device *d, struct rates *r) {
    if (mode("bare") || d->gpu == 1) return NOT_SUPPORTED; /* under MIG nobody can tell */
    r->gpu = 73;
    r->memory = 31;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *degrees) {
    (void)sensor;
    if (mode("bare") || d->slice >= 0) return NOT_SUPPORTED;
    *degrees = 42;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(device *d, unsigned *milliwatts) {
    if (mode("bare") || d->slice >= 0) return NOT_SUPPORTED;
    *milliwatts = 120500;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *milliwatts) {
    if (mode("bare") || mode("old") || d->slice >= 0) return NO_PERMISSION;
    *milliwatts = 700000;
    return SUCCESS;
}

struct process_info { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };

static int list(struct process_info *from, unsigned have, unsigned *count, struct process_info *to) {
    unsigned room = *count;
    *count = have;
    if (room < have || (have && !to)) return INSUFFICIENT_SIZE;
    if (have) memcpy(to, from, have * sizeof *from);
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, struct process_info *to) {
    struct process_info all[2] = {{process(), 2 * GIB, ~0u, ~0u}, {4194000, NOT_AVAILABLE, ~0u, ~0u}};
    if (mode("bare")) return NOT_SUPPORTED;
    if (!process() || d->slice == 2) return list(all, 0, count, to);
    return list(all, d->gpu == 0 ? 2 : 1, count, to);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device *d, unsigned *count, struct process_info *to) {
    struct process_info one = {process(), GIB, ~0u, ~0u};
    if (mode("bare") || d->slice >= 0) return NOT_SUPPORTED;
    return list(&one, process() && d->gpu == 0, count, to);
}

struct sample { unsigned pid; unsigned long long when; unsigned sm, memory, encoder, decoder; };

int nvmlDeviceGetProcessUtilization(
    device *d, struct sample *to, unsigned *count, unsigned long long since) {
    if (d->gpu == 1) return NOT_SUPPORTED;
    if (!to) {
        *count = 100; /* as the real one: the size of its buffer, not of the answer */
        return INSUFFICIENT_SIZE;
    }
    if (since >= 2000) return NOT_FOUND; /* nothing newer has been sampled */
    memset(to, 0, 2 * sizeof *to);
    to[0].pid = to[1].pid = process();
    to[0].when = 2000;
    to[0].sm = 64;
    to[1].when = 1000;
    to[1].sm = 12;
    *count = 2;
    return SUCCESS;
}
