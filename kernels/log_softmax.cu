// Log-probabilities of rows of scores, and the best of each row with its probability.
//
// Mathematics   log_probs[c] = x[c] - max - ln(sum over c of e^(x[c] - max)); best is the index of the greatest, of equals the
//               lowest; best_prob = 1 / that sum.
// Inputs        logits f32 [M][ld], `columns` of each row in use.
// Outputs       log_probs f32 [M][ld], null or the same as logits; best i32 [M]; best_prob f32 [M].
// Launch        grid M, 128 threads: a block for each row. 48 bytes static shared memory.
// Preconditions 1 <= columns <= ld; scores that are numbers.
// Cost          4 bytes a column read from memory, 4 or 8 more from cache, 4 written if wanted: memory is the limit.
// Accumulation  f32; thread i adds columns i, i + 128, ..., then lanes by halves and warps in order. The sum is off by
//               (columns / 128 + 10) * 2^-24 and each term by 2^-21 relative, so log_probs by 1e-6 and 2^-23 of their size.
// CPU twin      src/ops/log_softmax/cpu.rs; the index is that of src/model/decode/ctc.rs
// Measured      not measured

#include "common.cuh"

#define THREADS 128
#define WARPS (THREADS / WARP)

extern "C" __global__ void __launch_bounds__(THREADS)
    log_softmax(const float* logits, float* log_probs, int* __restrict__ best, float* __restrict__ best_prob, int M, int columns, int ld) {
    __shared__ float greatest[WARPS], sums[WARPS];
    __shared__ int indices[WARPS];
    const int row = blockIdx.x, warp = threadIdx.x / WARP;
    if (row >= M) return;
    const float* x = logits + (i64)row * ld;

    // Column 0 stands in where a thread has none, so the index is one of the row's whatever the scores are.
    float most = x[0];
    int index = 0;
    for (int c = threadIdx.x; c < columns; c += THREADS) keep_greater(most, index, x[c], c);
    warp_argmax(most, index);
    if (threadIdx.x % WARP == 0) {
        greatest[warp] = most;
        indices[warp] = index;
    }
    __syncthreads();
#pragma unroll
    for (int w = 0; w < WARPS; ++w) keep_greater(most, index, greatest[w], indices[w]);

    float sum = 0.f;
    for (int c = threadIdx.x; c < columns; c += THREADS) sum += __expf(x[c] - most);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) sums[warp] = sum;
    __syncthreads();
    sum = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) sum += sums[w];

    if (threadIdx.x == 0) {
        best[row] = index;
        best_prob[row] = 1.f / sum;
    }
    if (!log_probs) return;
    const float shift = logf(sum);
    float* y = log_probs + (i64)row * ld;
    for (int c = threadIdx.x; c < columns; c += THREADS) y[c] = x[c] - most - shift;
}
