/* Loops over merge trees that nothing vectorises: compiled on first use, called by linkage.py and hierarchy.py.
 *
 * n points, e edges, t = 2n - 1 nodes of the binary merge tree: points first, merges by rising altitude, root
 * last and its own parent. Edges are rows of two point numbers. Functions return -1 where there is no memory.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DIGIT 11 /* bits of a radix sort's digit: three passes, and the counters fit the first-level cache */
#define BUCKETS (1 << DIGIT)
#define AHEAD 16 /* edges come in the order of their weights, so their places in memory are fetched in advance */

/* Unsigned integers in the order of the floats. */
static inline uint32_t ordered(float weight) {
    uint32_t bits;
    memcpy(&bits, &weight, sizeof bits);
    return bits ^ ((bits >> 31) ? 0xffffffffu : 0x80000000u);
}

/* One pass: items in the order of one digit of their weight, ties in the order they came in. */
static void sort_by_digit(const uint64_t *from, uint64_t *to, int64_t e, int shift) {
    int64_t place[BUCKETS] = {0}, before = 0;
    for (int64_t k = 0; k < e; k++) place[(from[k] >> shift) & (BUCKETS - 1)]++;
    for (int b = 0; b < BUCKETS; b++) {
        const int64_t size = place[b];
        place[b] = before;
        before += size;
    }
    for (int64_t k = 0; k < e; k++) to[place[(from[k] >> shift) & (BUCKETS - 1)]++] = from[k];
}

/* Edge numbers by rising weight, in the low halves of the items returned; the buffer must hold 2e items. */
static const uint64_t *edges_by_weight(int64_t e, const float *weights, uint64_t *buffer) {
    uint64_t *one = buffer, *other = buffer + e;
    for (int64_t k = 0; k < e; k++) one[k] = (uint64_t)ordered(weights[k]) << 32 | (uint64_t)k;
    for (int shift = 32; shift < 64; shift += DIGIT) {
        uint64_t *swap = other;
        sort_by_digit(one, other, e, shift);
        other = one;
        one = swap;
    }
    return one;
}

static inline int32_t find(int32_t *up, int32_t a) {
    while (up[a] >= 0) { /* a root holds minus the size of its set */
        if (up[up[a]] >= 0) up[a] = up[up[a]];
        a = up[a];
    }
    return a;
}

/* The binary tree of single linkage: Kruskal's merges in order. Returns their number: n - 1 if the graph is connected. */
int64_t canonical_tree(int64_t n, int64_t e, const int64_t *edges, const float *weights, int32_t *parents, float *altitude) {
    uint64_t *buffer = malloc(2 * (size_t)(e ? e : 1) * sizeof *buffer);
    int32_t *up = malloc(2 * (size_t)n * sizeof *up), *node = up + n;
    int64_t merges = 0;
    if (!buffer || !up) merges = -1;
    else {
        const uint64_t *order = edges_by_weight(e, weights, buffer);
        for (int32_t i = 0; i < n; i++) up[i] = -1, node[i] = i, altitude[i] = 0.0f;
        for (int64_t k = 0; k < e && merges < n - 1; k++) {
            if (k + 2 * AHEAD < e) __builtin_prefetch(edges + 2 * (order[k + 2 * AHEAD] & 0xffffffffu));
            if (k + AHEAD < e) {
                const int64_t *soon = edges + 2 * (order[k + AHEAD] & 0xffffffffu);
                __builtin_prefetch(up + soon[0]), __builtin_prefetch(up + soon[1]);
            }
            const int64_t edge = order[k] & 0xffffffffu;
            int32_t a = find(up, (int32_t)edges[2 * edge]), b = find(up, (int32_t)edges[2 * edge + 1]);
            if (a == b) continue;
            if (up[a] > up[b]) { const int32_t swap = a; a = b; b = swap; } /* the larger set takes the smaller */
            const int32_t merge = (int32_t)(n + merges++);
            up[a] += up[b], up[b] = a;
            parents[node[a]] = parents[node[b]] = merge, node[a] = merge;
            altitude[merge] = weights[edge];
        }
        parents[n + merges - 1] = (int32_t)(n + merges - 1);
    }
    free(buffer), free(up);
    return merges;
}

/* [start, stop) of every node in a depth-first order of the points. */
int64_t tree_intervals(int64_t t, const int32_t *parents, int64_t *start, int64_t *stop) {
    int64_t *next = malloc((size_t)t * sizeof *next); /* where a node's next child starts */
    if (!next) return -1;
    for (int64_t i = 0; i < t; i++) stop[i] = i < (t + 1) / 2; /* sizes, for now */
    for (int64_t i = 0; i < t - 1; i++) stop[parents[i]] += stop[i];
    start[t - 1] = next[t - 1] = 0;
    for (int64_t i = t - 2; i >= 0; i--) {
        start[i] = next[i] = next[parents[i]];
        next[parents[i]] += stop[i];
    }
    for (int64_t i = 0; i < t; i++) stop[i] += start[i];
    free(next);
    return 0;
}

/* Raises parents to their highest child. */
int64_t raise_parents(int64_t t, const int32_t *parents, double *altitude) {
    for (int64_t i = 0; i < t - 1; i++)
        if (altitude[parents[i]] < altitude[i]) altitude[parents[i]] = altitude[i];
    return 0;
}
