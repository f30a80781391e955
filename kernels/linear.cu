// Linear layers on tensor cores, each with the function that follows it.
//
// Mathematics   v[row][o] = sum over k of x[row][k] * w[o][k] + bias[o], then, by the first part of the name,
//   linear_store   y = v                                            f16
//   linear_relu    y = max(v, 0)                                    f16
//   linear_silu    y = v * sigmoid(v)                               f16
//   linear_gate    y[d] = value[d] * sigmoid(gate[d])               f16; w row (d / 8) * 16 + d % 8 is value d, 8 further its gate
//   linear_add     y += factor * v                                  f32
//   linear_float   y = v                                            f32
//   linear_prompt  y = max(v - bias + table[prompt of the row's stream], 0)   f16
// Inputs        x f16 [M][K], dense; w f16 [Np][K], dense, Np = N rounded up to 128, rows beyond N zero; bias f32 [Np];
//               table f32 [prompts][Np]; rows int [M / n][ROW_WORDS], n rows of x a stream.
// Output        y [M][ldy]; columns from N (for the gate N / 2) to ldy are left alone.
// Launch        grid (ceil(M / rows), ceil(N / outputs)), no dynamic shared memory; by the second part of the name
//   _r16    64 outputs x  16 rows, 128 threads: few rows, where reading w is the cost and blocks must be many
//   _r64    64 outputs x  64 rows, 128 threads: some hundreds of rows
//   _r128  128 outputs x 128 rows, 256 threads: when such tiles alone fill the card (two blocks a multiprocessor)
//               Blocks of one range of outputs are neighbours, so w, which comes from memory, is read from there once, and x,
//               just written by the layer before, comes from the L2 cache.
// Shared        one buffer for the pipeline (4, 4, 3 stages: 40, 32, 48 KiB; two stages on sm_75: 20, 16, 32 KiB), reused to
//               turn the results so that every access to y is 16 bytes wide. Rows are swizzled: no bank conflicts.
// Preconditions K % 8 == 0, K > 0; ldy % 8 == 0; x, w, y 16-byte aligned; N even blocks of 16 for the gate (D % 8 == 0);
//               M * max(K, ldy) and Np * K below 2^31.
// Cost          2 M N K operations; 2 (N K + M K) bytes read if each tile row is read once, M N elements written (f32 add:
//               also read). Below about 300 rows (H100) the bytes of w are the limit, above it the tensor cores.
// Accumulation  f32, in tensor-core steps of 16 ascending k in every variant and for every M: a row's bits do not depend on the
//               launch. Error bound K * 2^-23 * sum of |x w| (the cores may truncate), then one rounding to f16.
// CPU twin      src/ops/linear/cpu.rs
// Measured      not measured

#include "common.cuh"

enum Mode { STORE, RELU, SILU, GATE, ADD, FLOAT, PROMPT };

template <int MODE>
struct Result {
    typedef f16 type;
};
template <>
struct Result<ADD> {
    typedef float type;
};
template <>
struct Result<FLOAT> {
    typedef float type;
};

// A block's tile, cut into warps; a warp's part into 16 outputs x 8 rows.
template <int OUTPUTS_, int ROWS_, int DEPTH_, int OUTPUT_WARPS, int ROW_WARPS, int STAGES_>
struct Tile {
    enum {  // not static members, which would be variables in device memory
        OUTPUTS = OUTPUTS_,
        ROWS = ROWS_,
        DEPTH = DEPTH_,
        THREADS = OUTPUT_WARPS * ROW_WARPS * WARP,
        WARP_OUTPUTS = OUTPUTS / OUTPUT_WARPS,
        WARP_ROWS = ROWS / ROW_WARPS,
        OUTPUT_PARTS = WARP_OUTPUTS / 16,
        ROW_PARTS = WARP_ROWS / 8,
        CHUNKS = DEPTH / 8,                // 16-byte pieces of a row
        STAGE = (OUTPUTS + ROWS) * DEPTH,  // halves
#if __CUDA_ARCH__ >= 800
        STAGES = STAGES_,
#else
        STAGES = 2,
#endif
        BYTES = STAGES * STAGE * 2
    };

    // Where piece `chunk` of row `row` lies: eight rows of one piece, as ldmatrix reads them, touch all banks once.
    static __device__ __forceinline__ int place(int row, int chunk) {
        return row * DEPTH + (chunk ^ (CHUNKS == 4 ? (row >> 1) & 3 : row & 7)) * 8;
    }
};

typedef Tile<64, 16, 64, 4, 1, 4> R16;
typedef Tile<64, 64, 32, 2, 2, 4> R64;
typedef Tile<128, 128, 32, 2, 4, 3> R128;

// Copies columns k .. k + DEPTH of COUNT rows; zeros beyond `limit` rows and beyond K columns.
template <class T, int COUNT>
__device__ __forceinline__ void copy_rows(f16* shared, const f16* __restrict__ from, int first, int limit, int k, int K) {
    static_assert(COUNT * T::CHUNKS % T::THREADS == 0, "threads share the pieces evenly");
#pragma unroll
    for (int i = 0; i < COUNT * T::CHUNKS / T::THREADS; ++i) {
        int piece = (int)threadIdx.x + i * T::THREADS;
        int row = piece / T::CHUNKS, chunk = piece % T::CHUNKS, column = k + chunk * 8;
        bool inside = first + row < limit && column < K;
        copy16(shared + T::place(row, chunk), from + (inside ? (first + row) * K + column : 0), inside);
    }
}

// sums += w * x for one stage, in steps of 16 of k; steps that lie beyond K are left out (they would add zeros).
template <class T>
__device__ __forceinline__ void multiply(float (&sums)[T::OUTPUT_PARTS][T::ROW_PARTS][4], const f16* w, const f16* x, int left) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int k = 0; k < T::DEPTH; k += 16) {
        if (k >= left) break;
        u32 a[T::OUTPUT_PARTS][4], b[T::ROW_PARTS / 2][4];
#pragma unroll
        for (int i = 0; i < T::OUTPUT_PARTS; ++i) load_matrix4(a[i], w + T::place(i * 16 + lane % 16, k / 8 + lane / 16));
#pragma unroll
        for (int j = 0; j < T::ROW_PARTS / 2; ++j) {
            load_matrix4(b[j], x + T::place(j * 16 + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
        }
#pragma unroll
        for (int i = 0; i < T::OUTPUT_PARTS; ++i) {
#pragma unroll
            for (int j = 0; j < T::ROW_PARTS; ++j) mma(sums[i][j], a[i], {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]});
        }
    }
}

template <int MODE>
__device__ __forceinline__ float finish(float v) {
    if (MODE == RELU || MODE == PROMPT) return fmaxf(v, 0.f);
    if (MODE == SILU) return silu(v);
    return v;
}

__device__ __forceinline__ void put(f16* at, float v) { *at = to_half(v); }
__device__ __forceinline__ void put(float* at, float v) { *at = v; }

template <class T, int MODE>
__device__ __forceinline__ void linear(const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias,
                                       typename Result<MODE>::type* __restrict__ y, int M, int N, int K, int ldy, float factor,
                                       const int* __restrict__ rows, int n) {
    typedef typename Result<MODE>::type Y;
    __shared__ __align__(128) unsigned char memory[T::BYTES];
    f16* stages = (f16*)memory;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int warp_output = warp % (T::OUTPUTS / T::WARP_OUTPUTS) * T::WARP_OUTPUTS;
    const int row_warp = warp / (T::OUTPUTS / T::WARP_OUTPUTS);
    const int first_row = blockIdx.x * T::ROWS, first_output = blockIdx.y * T::OUTPUTS;
    const int steps = (K + T::DEPTH - 1) / T::DEPTH;

    auto copy = [&](int step) {
        if (step < steps) {
            f16* stage = stages + step % T::STAGES * T::STAGE;
            copy_rows<T, T::OUTPUTS>(stage, w, first_output, first_output + T::OUTPUTS, step * T::DEPTH, K);
            copy_rows<T, T::ROWS>(stage + T::OUTPUTS * T::DEPTH, x, first_row, M, step * T::DEPTH, K);
        }
        copies_commit();
    };

    float sums[T::OUTPUT_PARTS][T::ROW_PARTS][4] = {};
#pragma unroll
    for (int step = 0; step < T::STAGES - 1; ++step) copy(step);
    for (int step = 0; step < steps; ++step) {
        copies_wait<T::STAGES - 2>();
        __syncthreads();  // this stage has arrived, and all are done with the one before it, which is filled next
        copy(step + T::STAGES - 1);
        const f16* stage = stages + step % T::STAGES * T::STAGE;
        multiply<T>(sums, stage + warp_output * T::DEPTH, stage + (T::OUTPUTS + row_warp * T::WARP_ROWS) * T::DEPTH, K - step * T::DEPTH);
    }
    copies_wait<0>();

    // Results go through shared memory, [row][output], in as many parts as it takes.
    constexpr int WIDTH = MODE == GATE ? T::OUTPUTS / 2 : T::OUTPUTS;
    constexpr int WIDE = 16 / sizeof(Y);
    constexpr int STRIDE = WIDTH + WIDE;
    constexpr int WHOLE = T::ROWS * STRIDE * sizeof(Y);
    constexpr int PARTS = WHOLE <= T::BYTES ? 1 : WHOLE <= 2 * T::BYTES ? 2 : 4;
    static_assert(WHOLE <= PARTS * T::BYTES && T::ROW_PARTS % PARTS == 0, "results fit");
    constexpr int PART_ROWS = T::WARP_ROWS / PARTS;
    const int columns = MODE == GATE ? N / 2 : N;
    const int first_column = MODE == GATE ? first_output / 2 : first_output;
    Y* turned = (Y*)memory;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < T::OUTPUT_PARTS; ++i) {
            const int output = warp_output + i * 16 + lane / 4;
            float low = 0.f, high = 0.f;
            if (MODE != PROMPT) {
                low = bias[first_output + output];
                high = bias[first_output + output + 8];
            }
#pragma unroll
            for (int j = 0; j < T::ROW_PARTS / PARTS; ++j) {
                const float* sum = sums[i][part * (T::ROW_PARTS / PARTS) + j];
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const int row = j * 8 + lane % 4 * 2 + e;
                    if (MODE == PROMPT) {
                        int stream = min(first_row + row_warp * T::WARP_ROWS + part * PART_ROWS + row, M - 1) / n;
                        const float* from = bias + row_word(rows, stream, ROW_PROMPT) * ((N + 127) / 128 * 128) + first_output + output;
                        low = from[0];
                        high = from[8];
                    }
                    Y* to = turned + (row_warp * PART_ROWS + row) * STRIDE;
                    if (MODE == GATE) {
                        put(to + (warp_output + i * 16) / 2 + lane / 4, (sum[e] + low) * sigmoid(sum[e + 2] + high));
                    } else {
                        put(to + output, finish<MODE>(sum[e] + low));
                        put(to + output + 8, finish<MODE>(sum[e + 2] + high));
                    }
                }
            }
        }
        __syncthreads();
        for (int piece = threadIdx.x; piece < T::ROWS / PARTS * (WIDTH / WIDE); piece += T::THREADS) {
            const int place = piece / (WIDTH / WIDE), column = piece % (WIDTH / WIDE) * WIDE;
            const int row = first_row + place / PART_ROWS * T::WARP_ROWS + part * PART_ROWS + place % PART_ROWS;
            if (row >= M) continue;
            const Y* from = turned + place * STRIDE + column;
            Y* to = y + row * ldy + first_column + column;
            if (MODE == ADD) {
                const float4 v = *(const float4*)from;
                if (first_column + column + WIDE <= columns) {
                    const float4 old = *(const float4*)to;
                    *(float4*)to = make_float4(fmaf(factor, v.x, old.x), fmaf(factor, v.y, old.y), fmaf(factor, v.z, old.z),
                                               fmaf(factor, v.w, old.w));
                } else {
                    for (int c = 0; c < columns - first_column - column; ++c) to[c] = fmaf(factor, from[c], to[c]);
                }
            } else if (first_column + column + WIDE <= columns) {
                *(uint4*)to = *(const uint4*)from;
            } else {
                for (int c = 0; c < columns - first_column - column; ++c) to[c] = from[c];
            }
        }
    }
}

#define LINEAR(NAME, MODE, VARIANT, BLOCKS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(VARIANT::THREADS, BLOCKS) NAME(                                                      \
        const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, Result<MODE>::type* __restrict__ y,    \
        int M, int N, int K, int ldy) {                                                                                              \
        linear<VARIANT, MODE>(x, w, bias, y, M, N, K, ldy, 1.f, nullptr, 1);                                                         \
    }

#define LINEARS(SUFFIX, VARIANT, BLOCKS)                                                                                             \
    LINEAR(linear_store_##SUFFIX, STORE, VARIANT, BLOCKS)                                                                            \
    LINEAR(linear_relu_##SUFFIX, RELU, VARIANT, BLOCKS)                                                                              \
    LINEAR(linear_silu_##SUFFIX, SILU, VARIANT, BLOCKS)                                                                              \
    LINEAR(linear_gate_##SUFFIX, GATE, VARIANT, BLOCKS)                                                                              \
    LINEAR(linear_float_##SUFFIX, FLOAT, VARIANT, BLOCKS)                                                                            \
    extern "C" __global__ void __launch_bounds__(VARIANT::THREADS, BLOCKS) linear_add_##SUFFIX(                                       \
        const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, float* __restrict__ y, int M, int N,    \
        int K, int ldy, float factor) {                                                                                              \
        linear<VARIANT, ADD>(x, w, bias, y, M, N, K, ldy, factor, nullptr, 1);                                                       \
    }                                                                                                                                \
    extern "C" __global__ void __launch_bounds__(VARIANT::THREADS, BLOCKS) linear_prompt_##SUFFIX(                                    \
        const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ table, f16* __restrict__ y, int M, int N,     \
        int K, int ldy, const int* __restrict__ rows, int n) {                                                                       \
        linear<VARIANT, PROMPT>(x, w, table, y, M, N, K, ldy, 1.f, rows, n);                                                         \
    }

LINEARS(r16, R16, 5)
LINEARS(r64, R64, 4)
LINEARS(r128, R128, 2)
