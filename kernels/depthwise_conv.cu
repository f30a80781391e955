// Depthwise convolution over time with what follows it in a conformer's convolution module: normalization and SiLU.
//
// Mathematics   v[t][d] = shift[d] + sum over k < K of taps[k][d] in[t + k - left][d]; y = silu(norm(v)). in[i] is new row i for
//               0 <= i < ROW_FRAMES, row left + i of the tail for i < 0 (zero at a start or without tails), zero beyond.
//               norm: layer normalization over d, epsilon 1e-5, if norm_weight is given; if not, none: a batch normalization is
//               then folded into taps and shift.
// Inputs        x f16 [B][n][D], ROW_FRAMES rows each; rows [B][ROW_WORDS]; taps f32 [K][D]; shift, norm_weight, norm_bias f32 [D].
// Outputs       y f16 [B][n][D], ROW_FRAMES rows each; the rest is not written.
// State         tails f16 [S][2][left][D] or null. The half that is not read receives the last `left` of tail and new rows.
// Launch        grid (n, B), min(256, D / 2 rounded up to 32) threads: a block for each frame, a thread takes pairs of channels.
//               Dynamic shared memory 4 D bytes with norm_weight, else 0. The block of frame 0 writes the tail, also for a stream
//               without frames. The number of threads decides the order of sums, so it may depend on D only.
// Preconditions D % 8 == 0, D <= 8192; x, y, tails 16-byte aligned, the rest 8-byte; B <= 65535; n * D and left * D below 2^31.
// Cost          at D 512, K 9 a frame reads 9 kB of rows and 18 kB of taps, mostly from cache, and writes 1 kB; a step copies a tail
//               of 8 kB. 2 K + 20 FLOP a value: memory is the limit.
// Accumulation  f32, from the shift on in ascending order of the taps as on the CPU; mean and variance in two passes, lanes by halves
//               and warps in order. Error K * 2^-24 of the sum of magnitudes, over the deviation, then one rounding to f16.
// CPU twin      src/ops/depthwise_conv/cpu.rs
// Measured      not measured

#include "common.cuh"

#define THREADS 256  // at most

// Sum over the block, the same in every thread; `part` may be used again after it.
__device__ __forceinline__ float block_sum(float* part, float v) {
    v = warp_sum(v);
    if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP] = v;
    __syncthreads();
    float sum = 0.f;
    for (int w = 0; w < blockDim.x / WARP; ++w) sum += part[w];
    __syncthreads();
    return sum;
}

__device__ __forceinline__ void add_tap(float2& sum, u32 x, float2 tap) {
    sum.x = fmaf(low_half(x), tap.x, sum.x);
    sum.y = fmaf(high_half(x), tap.y, sum.y);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    depthwise_conv(const f16* __restrict__ x, f16* tails, const int* __restrict__ rows, const float* __restrict__ taps,
                   const float* __restrict__ shift, const float* __restrict__ norm_weight, const float* __restrict__ norm_bias,
                   f16* __restrict__ y, int n, int D, int K, int left) {
    extern __shared__ float2 values[];
    __shared__ float part[THREADS / WARP];
    const int stream = blockIdx.y, t = blockIdx.x, pairs = D / 2;
    const int* row = rows + stream * ROW_WORDS;
    const int frames = row[ROW_FRAMES], parity = row[ROW_PARITY];
    f16* tail = tails + (i64)row[ROW_SLOT] * 2 * left * D;
    const f16* kept = tails && !row[ROW_START] ? tail + parity * left * D : nullptr;
    const f16* fresh = x + (i64)stream * n * D;

    if (t == 0 && tails) {
        uint4* next = (uint4*)(tail + (parity ^ 1) * left * D);
        const int line = D / 8, old = max(0, left - frames) * line;
        for (int i = threadIdx.x; i < left * line; i += blockDim.x) {
            if (i >= old)
                next[i] = ((const uint4*)fresh)[i + (frames - left) * line];
            else
                next[i] = kept ? ((const uint4*)kept)[i + frames * line] : make_uint4(0, 0, 0, 0);
        }
    }
    if (t >= frames) return;

    // Taps [0, split) meet the tail, [split, end) the new rows.
    const int split = max(0, min(K, left - t)), end = min(K, frames - t + left);
    const u32 *before = (const u32*)kept + t * pairs, *after = (const u32*)fresh + (t - left) * pairs;
    u32* result = (u32*)y + ((i64)stream * n + t) * pairs;
    float total = 0.f;
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
        const float2* tap = (const float2*)taps + p;
        float2 sum = ((const float2*)shift)[p];
        if (kept) {
#pragma unroll 4
            for (int k = 0; k < split; ++k) add_tap(sum, before[k * pairs + p], tap[k * pairs]);
        }
#pragma unroll 4
        for (int k = split; k < end; ++k) add_tap(sum, after[k * pairs + p], tap[k * pairs]);
        if (norm_weight) {
            values[p] = sum;  // read again by this thread only
            total += sum.x + sum.y;
        } else {
            result[p] = pack(silu(sum.x), silu(sum.y));
        }
    }
    if (!norm_weight) return;

    const float mean = block_sum(part, total) / (float)D;
    float squares = 0.f;
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
        float a = values[p].x - mean, b = values[p].y - mean;
        squares = fmaf(a, a, fmaf(b, b, squares));
    }
    const float factor = rsqrtf(block_sum(part, squares) / (float)D + 1e-5f);
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) {
        const float2 weight = ((const float2*)norm_weight)[p], bias = ((const float2*)norm_bias)[p];
        float a = fmaf((values[p].x - mean) * factor, weight.x, bias.x), b = fmaf((values[p].y - mean) * factor, weight.y, bias.y);
        result[p] = pack(silu(a), silu(b));
    }
}
