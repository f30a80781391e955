// Multi-head attention with relative positions (Transformer-XL form) over rings of keys and values.
//
// Mathematics   score(t, r) = ((q_t + u) . k_r + (q_t + v) . p(t - r)) * scale, softmax over the frames r that query t sees,
//               weighted sum of their values. Frames of a step count from its first new one: r = 0 .. FRAMES - 1 are new,
//               -PAST .. -1 are earlier ones. Query t sees every earlier frame and the new ones t - left <= r <= t + right
//               (a negative bound is none), so at least itself.
// Inputs        qkv f16 [B * n][3 * H * P]: queries of all heads, then keys, then values. P is the depth of a head rounded up to
//               16, the excess is zero. keys f16 [S][H][ring][P] and values f16 [S][H][P][ring]: frame r of a stream is at place
//               (ROW_RING + r) mod ring of its slot. positions f16 [H][count][P]: row m belongs to distance farthest - m, query
//               minus key. content_bias (u) and position_bias (v) f32 [H][P]. rows int [B][ROW_WORDS].
// Output        out f16 [B * n][H * P]; rows of frames that a stream does not have are left alone.
// Launch        rel_attention_append: grid (H, B), 128 threads; before rel_attention, which reads new frames from the rings.
//               rel_attention: grid (ceil(n / 16), H, B), 128 threads, 16 queries of a head each.
// Shared        rel_attention, dynamic: 16 * (ring + 8) * 4 + 2 * 16 * (P | 16) * 2 bytes: scores f32 by ring place (overwritten in
//               place by f16 weights), then q + u and q + v; and 64 bytes static. 11776 bytes for ring 96 and P 64; up to ring 704
//               at P 32 and 608 at P 128 this stays within 48 KiB, beyond that the function's limit must be raised. Pads keep
//               the loads of operands free of bank conflicts.
// Preconditions P % 16 == 0, P <= 128 (not relied on); ring % 16 == 0; FRAMES <= n, FRAMES + PAST <= ring, ROW_RING < ring;
//               the table covers every visible distance; all values in the rings are finite, also at places never used;
//               pointers 16-byte aligned; everything but the rings has fewer than 2^31 elements.
// Cost          for each stream and head 2 P (FRAMES + PAST) values f16 from memory, the table from the L2 cache: memory is the
//               limit for live steps, where FRAMES is small; 6 P operations for each query and visible frame.
// Accumulation  f32 in tensor cores over P in steps of 16, softmax in f32, weights rounded to f16 (the sum is of the rounded
//               ones) and summed in f32 over ring places in ascending blocks of 16, left out where a tile sees none. The order
//               depends on the stream's ring place and past only. Within a step of 16, element 4 c + i of the operands sits where
//               the instruction has element 2 c + i % 2 + i / 2 * 8, so that a lane loads 8 contiguous bytes. q + u, q + v and the
//               weights carry one rounding to f16: scores differ from exact ones by about 2^-11 * sum of |q k| * scale.
// CPU twin      src/ops/rel_attention/cpu.rs
// Measured      not measured

#include "common.cuh"

#define TILE 16  // queries of a block
#define WARPS 4
#define NOTHING __int_as_float(0xff800000)  // minus infinity

extern "C" __global__ void __launch_bounds__(128) rel_attention_append(const f16* __restrict__ qkv, f16* __restrict__ keys,
                                                                       f16* __restrict__ values, const int* __restrict__ rows, int n,
                                                                       int heads, int depth, int ring) {
    const int head = blockIdx.x, stream = blockIdx.y;
    const int frames = row_word(rows, stream, ROW_FRAMES), start = row_word(rows, stream, ROW_RING);
    const int width = heads * depth;
    const i64 base = ((i64)row_word(rows, stream, ROW_SLOT) * heads + head) * depth * ring;
    const f16* key = qkv + stream * n * 3 * width + width + head * depth;
    const f16* value = key + width;
    const int chunks = depth / 8;
    for (int i = threadIdx.x; i < frames * chunks; i += blockDim.x) {
        const int t = i / chunks, chunk = i % chunks;
        const int place = start + t < ring ? start + t : start + t - ring;
        *(uint4*)(keys + base + place * depth + chunk * 8) = *(const uint4*)(key + t * 3 * width + chunk * 8);
    }
    // Neighbouring threads write neighbouring places; what they read is in the first-level cache after the first channel.
    for (int i = threadIdx.x; i < frames * depth; i += blockDim.x) {
        const int channel = i / frames, t = i % frames;
        const int place = start + t < ring ? start + t : start + t - ring;
        values[base + channel * ring + place] = value[t * 3 * width + channel];
    }
}

// Operand a of one product: rows lane / 4 and 8 further of a matrix in shared memory, 4 columns of 16 a lane; zeros for a row
// that the tile does not have.
__device__ __forceinline__ void load_rows(u32 (&a)[4], const f16* row, int stride, bool low, bool high) {
    const uint2 none = make_uint2(0, 0);
    const uint2 upper = low ? *(const uint2*)row : none;
    const uint2 lower = high ? *(const uint2*)(row + 8 * stride) : none;
    a[0] = upper.x;
    a[1] = lower.x;
    a[2] = upper.y;
    a[3] = lower.y;
}

// The 16 queries times 16 rows of depth P in global memory (`first` and `second`: this lane's row and columns in each half).
__device__ __forceinline__ void scores_of(float (&sums)[2][4], const f16* query, int stride, bool low, bool high,
                                          const f16* __restrict__ first, const f16* __restrict__ second, int depth) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[i / 4][i % 4] = 0.f;
#pragma unroll 4
    for (int k = 0; k < depth; k += 16) {
        const uint2 x = *(const uint2*)(first + k), y = *(const uint2*)(second + k);
        u32 a[4];
        load_rows(a, query + k, stride, low, high);
        mma(sums[0], a, {x.x, x.y});
        mma(sums[1], a, {y.x, y.y});
    }
}

// What one stream's queries see.
struct View {
    int frames, past, left, right;

    __device__ __forceinline__ bool sees(int t, int r) const {
        if (r < 0) return r >= -past;
        return r < frames && (left < 0 || r >= t - left) && (right < 0 || r <= t + right);
    }
};

extern "C" __global__ void __launch_bounds__(128, 7)
    rel_attention(const f16* __restrict__ qkv, const f16* __restrict__ keys, const f16* __restrict__ values,
                  const f16* __restrict__ positions, int count, int farthest, const float* __restrict__ content_bias,
                  const float* __restrict__ position_bias, const int* __restrict__ rows, f16* __restrict__ out, int n, int heads,
                  int depth, int ring, int left, int right, float scale) {
    extern __shared__ __align__(16) float scores[];
    __shared__ float factors[TILE];
    const int first = blockIdx.x * TILE, head = blockIdx.y, stream = blockIdx.z;
    const View view = {row_word(rows, stream, ROW_FRAMES), row_word(rows, stream, ROW_PAST), left, right};
    if (first >= view.frames) return;
    const int queries = min(TILE, view.frames - first);
    const int start = row_word(rows, stream, ROW_RING);
    const int width = heads * depth;
    const i64 base = ((i64)row_word(rows, stream, ROW_SLOT) * heads + head) * depth * ring;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, row = lane / 4, column = lane % 4;
    const bool has_low = row < queries, has_high = row + 8 < queries;
    const int stride = ring + 8;          // of scores
    const int query_stride = depth | 16;  // odd in units of 32 bytes
    f16* content = (f16*)(scores + TILE * stride);
    f16* position = content + TILE * query_stride;

    // Frames that any of these queries sees, and the blocks of 16 ring places that hold them: `wrapped` blocks from place 0 on
    // and the rest from block `begin` on.
    const int low = view.past > 0 || left < 0 ? -view.past : max(0, first - left);
    const int high = right < 0 ? view.frames - 1 : min(view.frames - 1, first + queries - 1 + right);
    const int from = start + low < 0 ? start + low + ring : start + low;
    const int to = from + high - low;
    const int wrapped = to < ring ? 0 : (to - ring) / 16 + 1;
    const int begin = max(from / 16, wrapped);
    const int blocks = wrapped + max(0, min(to, ring - 1) / 16 + 1 - begin);
    auto block_at = [&](int i) { return i < wrapped ? i : i - wrapped + begin; };

    for (int i = threadIdx.x; i < queries * (depth / 8); i += WARPS * WARP) {
        const int t = i / (depth / 8), channel = i % (depth / 8) * 8;
        const uint4 q = *(const uint4*)(qkv + (stream * n + first + t) * 3 * width + head * depth + channel);
        auto add = [&](f16* to, const float* __restrict__ bias) {
            const float4 a = *(const float4*)(bias + head * depth + channel), b = *(const float4*)(bias + head * depth + channel + 4);
            *(uint4*)(to + t * query_stride + channel) =
                make_uint4(pack(low_half(q.x) + a.x, high_half(q.x) + a.y), pack(low_half(q.y) + a.z, high_half(q.y) + a.w),
                           pack(low_half(q.z) + b.x, high_half(q.z) + b.y), pack(low_half(q.w) + b.z, high_half(q.w) + b.w));
        };
        add(content, content_bias);
        add(position, position_bias);
    }
    __syncthreads();

    // Position term: every distance once, each product put where its query and frame meet.
    const int nearest = farthest - first + high;  // last row of the table needed
    for (int m = farthest - (first + queries - 1) + low + warp * 16; m <= nearest; m += WARPS * 16) {
        const f16* table = positions + head * count * depth + column * 4;
        float sums[2][4];
        scores_of(sums, position + row * query_stride + column * 4, query_stride, has_low, has_high,
                  table + min(max(m + row, 0), count - 1) * depth, table + min(max(m + 8 + row, 0), count - 1) * depth, depth);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int query = row + i / 2 % 2 * 8, t = first + query;
            const int r = m + i / 4 * 8 + column * 2 + i % 2 - farthest + t;
            if (query < queries && view.sees(t, r)) {
                const int place = start + r;
                scores[query * stride + (place < 0 ? place + ring : place < ring ? place : place - ring)] = sums[i / 4][i % 4];
            }
        }
    }
    __syncthreads();

    // Content term.
    for (int i = warp; i < blocks; i += WARPS) {
        const int block = block_at(i);
        const f16* key = keys + base + (block * 16 + row) * depth + column * 4;
        float sums[2][4];
        scores_of(sums, content + row * query_stride + column * 4, query_stride, has_low, has_high, key, key + 8 * depth, depth);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int query = row + i / 2 % 2 * 8;
            const int place = block * 16 + i / 4 * 8 + column * 2 + i % 2;
            int r = place < start ? place - start + ring : place - start;
            if (r >= view.frames) r -= ring;
            float& score = scores[query * stride + place];
            if (query < queries) score = view.sees(first + query, r) ? (score + sums[i / 4][i % 4]) * scale : NOTHING;
        }
    }
    __syncthreads();

    // Softmax, a warp for each row. Places ascend, so a weight never lands on a score that is still to be read.
    for (int query = warp; query < queries; query += WARPS) {
        const float* score = scores + query * stride;
        u32* weight = (u32*)(scores + query * stride);
        float most = NOTHING, sum = 0.f;
        for (int i = lane * 2; i < blocks * 16; i += 2 * WARP) {
            const float2 s = *(const float2*)(score + block_at(i / 16) * 16 + i % 16);
            most = fmaxf(most, fmaxf(s.x, s.y));
        }
        most = warp_max(most);
        for (int i = 0; i < blocks * 16; i += 2 * WARP) {
            const int mine = i + lane * 2;
            const int place = block_at(mine / 16) * 16 + mine % 16;
            u32 pair = 0;
            if (mine < blocks * 16) {
                const float2 s = *(const float2*)(score + place);
                pair = pack(__expf(s.x - most), __expf(s.y - most));
                sum += low_half(pair) + high_half(pair);
            }
            __syncwarp();
            if (mine < blocks * 16) weight[place / 2] = pair;
        }
        sum = warp_sum(sum);
        if (lane == 0) factors[query] = 1.f / sum;
    }
    __syncthreads();

    // Weights times values, 16 channels a warp. Column c of half j of the product is channel c / 2 * 4 + j * 2 + c % 2, which gives
    // each lane four neighbouring channels.
    const f16* weights = (const f16*)scores + row * stride * 2 + column * 4;
    for (int channel = warp * 16; channel < depth; channel += WARPS * 16) {
        const f16* value = values + base + (channel + row / 2 * 4 + row % 2) * ring + column * 4;
        float sums[2][4] = {};
#pragma unroll 4
        for (int i = 0; i < blocks; ++i) {
            const int place = block_at(i) * 16;
            const uint2 x = *(const uint2*)(value + place), y = *(const uint2*)(value + 2 * ring + place);
            u32 a[4];
            load_rows(a, weights + place, stride * 2, has_low, has_high);
            mma(sums[0], a, {x.x, x.y});
            mma(sums[1], a, {y.x, y.y});
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int query = row + half * 8;
            if (query >= queries) continue;
            const float f = factors[query];
            *(uint2*)(out + (stream * n + first + query) * width + head * depth + channel + column * 4) =
                make_uint2(pack(sums[0][half * 2] * f, sums[0][half * 2 + 1] * f), pack(sums[1][half * 2] * f, sums[1][half * 2 + 1] * f));
        }
    }
}
