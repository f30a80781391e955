// What every kernel shares: half precision without toolkit headers, reductions in a fixed order, tensor-core and
// asynchronous-copy instructions, and the meaning of a row descriptor.
//
// No toolkit header is included, so a host needs the driver and NVRTC alone. Sums have one order that depends on the shape of
// a row only, never on how many rows a launch has: a stream's results have the same bits in any batch.

typedef unsigned short f16;       // IEEE binary16, storage only; arithmetic is f32
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define WARP 32

// ---------------------------------------------------------------------------------------------------------------------------
// One descriptor of ROW_WORDS ints for each stream of a step; src/ops/rows.rs holds the same list and a test compares them.
// ---------------------------------------------------------------------------------------------------------------------------
enum Row {
    ROW_SLOT = 0,      // place in the pools; padding uses the last one
    ROW_PARITY = 1,    // half of a doubled tail that holds the past; the other half receives what the next step needs
    ROW_START = 2,     // 1: the past reads as zero
    ROW_SAMPLES = 3,   // new samples
    ROW_TAIL = 4,      // emphasized samples kept from earlier steps (at a start: zeros before the first sample)
    ROW_MEL = 5,       // new mel frames
    ROW_HELD0 = 6,     // rows kept by the first, second and third strided layer ...
    ROW_HELD1 = 7,
    ROW_HELD2 = 8,
    ROW_OUT0 = 9,      // ... and rows that each gives in this step
    ROW_OUT1 = 10,
    ROW_FRAMES = 11,   // the third layer's: new encoder frames
    ROW_RING = 12,     // place of the first new frame in the key and value ring
    ROW_PAST = 13,     // earlier frames that the new ones may see
    ROW_PROMPT = 14,   // row of the prompt table
    ROW_WORDS = 16
};

__device__ __forceinline__ int row_word(const int* rows, int stream, int word) { return rows[stream * ROW_WORDS + word]; }

// ---------------------------------------------------------------------------------------------------------------------------
// Half precision
// ---------------------------------------------------------------------------------------------------------------------------
__device__ __forceinline__ float to_float(f16 h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}

// Rounds to nearest; saturates, and turns what is not a number into the least value, so that no pool ever holds an infinity
// that could reach a slot's next occupant.
__device__ __forceinline__ f16 to_half(float f) {
    f16 h;
    f = fminf(fmaxf(f, -65504.f), 65504.f);
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}

// Two halves in one word, the first in the low part.
__device__ __forceinline__ u32 pack(float low, float high) { return (u32)to_half(low) | ((u32)to_half(high) << 16); }

__device__ __forceinline__ float low_half(u32 v) { return to_float((f16)(v & 0xffffu)); }
__device__ __forceinline__ float high_half(u32 v) { return to_float((f16)(v >> 16)); }

// ---------------------------------------------------------------------------------------------------------------------------
// Functions and reductions
// ---------------------------------------------------------------------------------------------------------------------------
__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + __expf(-x)); }
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int m = 16; m > 0; m >>= 1) v += __shfl_xor_sync(0xffffffffu, v, m);
    return v;
}

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int m = 16; m > 0; m >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, m));
    return v;
}

// Replaces a candidate by another if that is greater; of equals the lower index wins, so any order gives the same.
__device__ __forceinline__ void keep_greater(float& value, int& index, float v, int i) {
    if (v > value || (v == value && i < index)) {
        value = v;
        index = i;
    }
}

__device__ __forceinline__ void warp_argmax(float& value, int& index) {
#pragma unroll
    for (int m = 16; m > 0; m >>= 1)
        keep_greater(value, index, __shfl_xor_sync(0xffffffffu, value, m), __shfl_xor_sync(0xffffffffu, index, m));
}

// ---------------------------------------------------------------------------------------------------------------------------
// Tensor cores and copies
// ---------------------------------------------------------------------------------------------------------------------------
__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void load_matrix4(u32 (&r)[4], const f16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(p))
                 : "memory");
}

__device__ __forceinline__ void load_matrix2(u32 (&r)[2], const f16* p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)) : "memory");
}

// c += a * b: a is 16x16 by rows, b is 16x8 by columns. Lane l holds of c: rows l/4 and l/4+8, columns 2(l%4) and 2(l%4)+1.
// On sm_75 two half-deep products in the same order of k.
__device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

// 16 bytes from global to shared memory, zeros if not `inside`; both addresses 16-byte aligned. On sm_75 a plain copy.
__device__ __forceinline__ void copy16(f16* shared, const f16* global, bool inside) {
#if __CUDA_ARCH__ >= 800
    int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes) : "memory");
#else
    *(uint4*)shared = inside ? *(const uint4*)global : make_uint4(0, 0, 0, 0);
#endif
}

__device__ __forceinline__ void copies_commit() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most LEFT of the committed groups are under way.
template <int LEFT>
__device__ __forceinline__ void copies_wait() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
#endif
}
