// Greedy RNN-T and TDT search of one step: prediction network, joint and search loop, all streams at once.
//
// Mathematics   z = output * relu(frames[t] + g) + output_bias; token = argmax z[0 .. V], duration = durations[argmax z[V + 1 ..]], of
//               equals the lowest index. A token other than V (blank) is emitted at t and fed to the prediction network, which
//               gives the next g. t moves on by the duration; if that is 0 or there are none, by 1 after a blank or max_symbols
//               tokens at one frame. Confidence: the greatest probability over the V + 1 tokens.
//               Prediction network: LSTM layers over [input | hidden] with gates i, f, g, o; g = prediction * hidden of the
//               last + prediction_bias.
// Inputs        frames f32 [B * n][ldj], ROW_FRAMES each: the encoder's part of the joint with its bias; rows [B][ROW_WORDS]; f16
//               embedding [V + 1][P], lstm [layers][4P][2P], prediction [J][P], output [V + 1 + E][J]; f32 lstm_bias [layers][4P],
//               prediction_bias [J], output_bias [V + 1 + E]; durations i32 [E]; start f32 [2 P layers + J].
// Outputs       count i32 [B]; tokens i32 [B][most][3]: token, frame in this step, index of the duration or -1; confidence f32
//               [B][most]. Beyond count nothing is written.
// State         state f32 [S][state_stride]: hidden [P] and cell [P] of each layer, then g [J]; cursor i32 [S][2]: frames of the
//               next step that the last duration jumps over, unused. At a start they are `start` and 0 instead.
// Launch        grid B, 512 threads: a block for each stream. Dynamic shared memory 4 (2 J + 2 P (layers + 1)) bytes, 1280 static.
// Preconditions P % 8 == 0, J % 8 == 0; state_stride >= 2 P layers + J; most >= n * max_symbols (more is cut off); f16 weights
//               16-byte aligned; slots and weights of a layer below 2^31; numbers that are finite.
// Cost          a search step reads the output matrix, 1.3 MB at J 640, V 1024; a token the others, 7.4 MB at P 640 and one layer:
//               all from the L2 cache, whose bandwidth is the limit. 10,000 live streams need some 160,000 search steps and 30,000
//               tokens a second, 430 GB/s, 8 % of what an H100's L2 cache gives. If that shows: streams that share a block would
//               share the weights.
// Accumulation  f32 products of f16 weights; a warp adds four rows at once, lanes stride over the columns, then lanes by halves.
//               Error 2^-24 sqrt(J) of the sum of magnitudes. The order depends on P, J, V and E only.
// CPU twin      src/model/decode/transducer.rs
// Measured      not measured

#include "common.cuh"

#define THREADS 512
#define WARPS (THREADS / WARP)
#define TOGETHER 4  // matrix rows of a warp at a time: four gates of a unit, four scores
#define LEAST (-3.0e38f)

// sums[r] = row r . x for TOGETHER rows of `width` halves (width % 8 == 0); every lane gets all of them.
__device__ __forceinline__ void dot(float (&sums)[TOGETHER], const f16* const (&row)[TOGETHER], const float* x, int width, int lane) {
#pragma unroll
    for (int r = 0; r < TOGETHER; ++r) sums[r] = 0.f;
    for (int v = lane; v < width / 8; v += WARP) {
        uint4 weights[TOGETHER];
#pragma unroll
        for (int r = 0; r < TOGETHER; ++r) weights[r] = __ldg((const uint4*)row[r] + v);
        const float4 low = ((const float4*)x)[2 * v], high = ((const float4*)x)[2 * v + 1];
#pragma unroll
        for (int r = 0; r < TOGETHER; ++r) {
            float sum = sums[r];
            sum = fmaf(low_half(weights[r].x), low.x, sum);
            sum = fmaf(high_half(weights[r].x), low.y, sum);
            sum = fmaf(low_half(weights[r].y), low.z, sum);
            sum = fmaf(high_half(weights[r].y), low.w, sum);
            sum = fmaf(low_half(weights[r].z), high.x, sum);
            sum = fmaf(high_half(weights[r].z), high.y, sum);
            sum = fmaf(low_half(weights[r].w), high.z, sum);
            sum = fmaf(high_half(weights[r].w), high.w, sum);
            sums[r] = sum;
        }
    }
#pragma unroll
    for (int r = 0; r < TOGETHER; ++r) sums[r] = warp_sum(sums[r]);
}

// The same for rows first, first + 1, ... of a matrix of `count`; rows beyond it repeat the last.
__device__ __forceinline__ void dot_rows(float (&sums)[TOGETHER], const f16* matrix, int first, int count, const float* x, int width,
                                         int lane) {
    const f16* row[TOGETHER];
#pragma unroll
    for (int r = 0; r < TOGETHER; ++r) row[r] = matrix + (i64)min(first + r, count - 1) * width;
    dot(sums, row, x, width, lane);
}

// What a lane, a warp or the block knows of one joint output so far.
struct Best {
    float score, sum;  // the greatest, and the sum of e^(other - greatest) with it
    int token;
    float duration_score;
    int duration;

    __device__ __forceinline__ void add(float v, int i) {
        const float e = __expf(-fabsf(v - score));
        sum = v > score ? fmaf(sum, e, 1.f) : sum + e;
        keep_greater(score, token, v, i);
    }

    __device__ __forceinline__ void join(float v, float s, int i, float dv, int di) {
        const float most = fmaxf(score, v);
        sum = sum * __expf(score - most) + s * __expf(v - most);
        keep_greater(score, token, v, i);
        keep_greater(duration_score, duration, dv, di);
    }
};

// Runs one token through the prediction network. `state` as in the pool; `input` has room for 2 P values.
__device__ __forceinline__ void predict(float* state, float* input, const f16* embedding, const f16* lstm, const float* lstm_bias,
                                        const f16* prediction, const float* prediction_bias, int layers, int P, int J) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int i = threadIdx.x; i < P; i += THREADS) input[i] = to_float(embedding[i]);
    float* hidden = state;
    for (int layer = 0; layer < layers; ++layer) {
        hidden = state + layer * 2 * P;
        float* cell = hidden + P;
        for (int i = threadIdx.x; i < P; i += THREADS) input[P + i] = hidden[i];
        __syncthreads();
        const f16* weights = lstm + (i64)layer * 8 * P * P;
        const float* bias = lstm_bias + layer * 4 * P;
        for (int unit = warp; unit < P; unit += WARPS) {
            const f16* row[TOGETHER];
            float gate[TOGETHER];
#pragma unroll
            for (int g = 0; g < TOGETHER; ++g) row[g] = weights + (i64)(g * P + unit) * 2 * P;
            dot(gate, row, input, 2 * P, lane);
            if (lane == 0) {
                const float i = sigmoid(gate[0] + bias[unit]), f = sigmoid(gate[1] + bias[P + unit]);
                const float g = tanhf(gate[2] + bias[2 * P + unit]), o = sigmoid(gate[3] + bias[3 * P + unit]);
                const float c = f * cell[unit] + i * g;
                cell[unit] = c;
                hidden[unit] = o * tanhf(c);
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < P; i += THREADS) input[i] = hidden[i];
    }
    __syncthreads();
    float* joint = state + layers * 2 * P;
    for (int first = warp * TOGETHER; first < J; first += WARPS * TOGETHER) {
        float sums[TOGETHER];
        dot_rows(sums, prediction, first, J, input, P, lane);
#pragma unroll
        for (int r = 0; r < TOGETHER; ++r)
            if (lane == r && first + r < J) joint[first + r] = sums[r] + prediction_bias[first + r];
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    transducer_greedy(const float* __restrict__ frames, int n, int ldj, const int* __restrict__ rows, float* state, int state_stride,
                      int* cursor, const float* __restrict__ start, const f16* __restrict__ embedding, const f16* __restrict__ lstm,
                      const float* __restrict__ lstm_bias, const f16* __restrict__ prediction, const float* __restrict__ prediction_bias,
                      const f16* __restrict__ output, const float* __restrict__ output_bias, const int* __restrict__ durations,
                      int* __restrict__ count, int* __restrict__ tokens, float* __restrict__ confidence, int most, int layers, int P,
                      int J, int vocabulary, int extra, int max_symbols) {
    extern __shared__ float4 dynamic[];
    __shared__ float scores[WARPS * TOGETHER], sums[WARPS * TOGETHER], duration_scores[WARPS * TOGETHER];
    __shared__ int found[WARPS * TOGETHER], found_duration[WARPS * TOGETHER];
    const int stream = blockIdx.x, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int* row = rows + stream * ROW_WORDS;
    const int length = row[ROW_FRAMES], words = 2 * P * layers + J, outputs = vocabulary + 1 + extra;
    const bool begins = row[ROW_START] != 0;
    float* pool = state + (i64)row[ROW_SLOT] * state_stride;
    int* skip = cursor + row[ROW_SLOT] * 2;

    float *now = (float*)dynamic, *g = now + 2 * P * layers, *input = now + words, *joint = input + 2 * P;
    const float* from = begins ? start : pool;
    for (int i = threadIdx.x; i < words; i += THREADS) now[i] = from[i];
    int frame = begins ? 0 : *skip, symbols = 0, emitted = 0;
    __syncthreads();

    while (frame < length) {
        const float* at = frames + ((i64)stream * n + frame) * ldj;
        for (int i = threadIdx.x; i < J; i += THREADS) joint[i] = fmaxf(at[i] + g[i], 0.f);
        __syncthreads();

        // Lane r of four follows every fourth row of its warp's.
        Best best = {LEAST, 0.f, 0, LEAST, 0};
        for (int first = warp * TOGETHER; first < outputs; first += WARPS * TOGETHER) {
            float z[TOGETHER];
            dot_rows(z, output, first, outputs, joint, J, lane);
            const int mine = lane % TOGETHER, i = first + mine;
            if (i < outputs) {
                const float v = (mine < 2 ? (mine == 0 ? z[0] : z[1]) : (mine == 2 ? z[2] : z[3])) + output_bias[i];
                if (i <= vocabulary)
                    best.add(v, i);
                else
                    keep_greater(best.duration_score, best.duration, v, i - vocabulary - 1);
            }
        }
        if (lane < TOGETHER) {
            const int place = warp * TOGETHER + lane;
            scores[place] = best.score;
            sums[place] = best.sum;
            found[place] = best.token;
            duration_scores[place] = best.duration_score;
            found_duration[place] = best.duration;
        }
        __syncthreads();
        // Each warp joins them all, so that every thread knows the decision.
        best = {scores[lane], sums[lane], found[lane], duration_scores[lane], found_duration[lane]};
#pragma unroll
        for (int place = lane + WARP; place < WARPS * TOGETHER; place += WARP)
            best.join(scores[place], sums[place], found[place], duration_scores[place], found_duration[place]);
#pragma unroll
        for (int m = 16; m > 0; m >>= 1)
            best.join(__shfl_xor_sync(0xffffffffu, best.score, m), __shfl_xor_sync(0xffffffffu, best.sum, m),
                      __shfl_xor_sync(0xffffffffu, best.token, m), __shfl_xor_sync(0xffffffffu, best.duration_score, m),
                      __shfl_xor_sync(0xffffffffu, best.duration, m));

        const bool blank = best.token == vocabulary;
        const int duration = extra > 0 ? durations[best.duration] : 0;
        if (!blank) {
            if (threadIdx.x == 0 && emitted < most) {
                int* token = tokens + ((i64)stream * most + emitted) * 3;
                token[0] = best.token;
                token[1] = frame;
                token[2] = extra > 0 ? best.duration : -1;
                confidence[(i64)stream * most + emitted] = 1.f / best.sum;
            }
            emitted = min(emitted + 1, most);
            ++symbols;
            predict(now, input, embedding + (i64)best.token * P, lstm, lstm_bias, prediction, prediction_bias, layers, P, J);
        }
        const int step = duration > 0 ? duration : (blank || symbols >= max_symbols ? 1 : 0);
        if (step > 0) symbols = 0;
        frame += step;
    }

    if (emitted > 0 || begins)
        for (int i = threadIdx.x; i < words; i += THREADS) pool[i] = now[i];
    if (threadIdx.x == 0) {
        *skip = frame - length;
        count[stream] = emitted;
    }
}
