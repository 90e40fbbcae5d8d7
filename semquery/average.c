/* Average linkage of a sparse graph, merge by merge: compiled on first use, called by linkage.py.
 *
 * A heap gives the nearest two clusters. The one with fewer edges moves its edges to the other, so an edge moves
 * at most log2 e times. An edge that finds another between the same two clusters is added up with it: their mean is
 * at least the smaller of the two distances, so of the two the shorter survives, and no distance falls below the key
 * that its edge has in the heap. Keys may therefore be too small, and are renewed when they come to the top.
 * A hash table finds the edge between two clusters. A cluster has the number of one of its points.
 */
#include <stdint.h>
#include <stdlib.h>

#define NONE UINT32_MAX
#define FREE UINT64_MAX

typedef struct {
    double total;    /* sum of the weights of the edges between points of the two clusters */
    int32_t end[2];  /* the clusters */
    uint32_t next[2]; /* in the list of either cluster's edges: 2 * edge + which of its ends */
    uint32_t count;  /* number of edges between points; 0 = this edge is no more */
} Edge;

typedef struct { double key; uint32_t edge; } Item;
typedef struct { uint64_t pair; uint32_t edge; } Slot;

typedef struct {
    Edge *edges;
    uint32_t num_edges;
    Slot *slots;
    uint64_t mask;           /* number of slots, a power of two, less one */
    Item *heap;
    uint32_t *first, *length; /* each cluster's list of edges, and how many it holds, dead ones included */
} Graph;

static inline double distance(const Edge *edge) { return edge->total / edge->count; }

static inline uint64_t pair_of(int32_t a, int32_t b) {
    return a < b ? (uint64_t)a << 32 | (uint64_t)b : (uint64_t)b << 32 | (uint64_t)a;
}

static inline uint64_t home(const Graph *g, uint64_t pair) {
    pair *= 0x9E3779B97F4A7C15u;
    return (pair ^ pair >> 32) & g->mask;
}

/* The slot of a pair, or the free one where it belongs. */
static inline Slot *slot_of(const Graph *g, uint64_t pair) {
    uint64_t at = home(g, pair);
    while (g->slots[at].pair != pair && g->slots[at].pair != FREE) at = (at + 1) & g->mask;
    return g->slots + at;
}

/* Frees a slot, and moves those back that had to make way for it. */
static void forget(Graph *g, uint64_t pair) {
    uint64_t hole = slot_of(g, pair) - g->slots;
    for (uint64_t at = (hole + 1) & g->mask; g->slots[at].pair != FREE; at = (at + 1) & g->mask) {
        const uint64_t wish = home(g, g->slots[at].pair);
        if (((at - wish) & g->mask) >= ((at - hole) & g->mask)) g->slots[hole] = g->slots[at], hole = at;
    }
    g->slots[hole].pair = FREE;
}

static inline void list(Graph *g, int32_t cluster, uint32_t edge, int side) {
    g->edges[edge].next[side] = g->first[cluster];
    g->first[cluster] = 2 * edge + side;
    g->length[cluster]++;
}

static void sink(Item *heap, int64_t size, int64_t at) {
    const Item item = heap[at];
    for (int64_t child; (child = 4 * at + 1) < size; at = child) {
        const int64_t last = child + 4 < size ? child + 4 : size;
        for (int64_t k = child + 1; k < last; k++)
            if (heap[k].key < heap[child].key) child = k;
        if (heap[child].key >= item.key) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

static void read_edges(Graph *g, int64_t e, const int64_t *ends, const double *weights) {
    for (int64_t k = 0; k < e; k++) {
        const int32_t a = (int32_t)ends[2 * k], b = (int32_t)ends[2 * k + 1];
        if (a == b) continue;
        Slot *slot = slot_of(g, pair_of(a, b));
        if (slot->pair == FREE) {
            const uint32_t edge = g->num_edges++;
            *slot = (Slot){pair_of(a, b), edge};
            g->edges[edge] = (Edge){.end = {a, b}};
            list(g, a, edge, 0), list(g, b, edge, 1);
        }
        g->edges[slot->edge].total += weights[k];
        g->edges[slot->edge].count++;
    }
    for (uint32_t k = 0; k < g->num_edges; k++) g->heap[k] = (Item){distance(g->edges + k), k};
    for (int64_t k = ((int64_t)g->num_edges - 2) / 4; k >= 0 && g->num_edges; k--) sink(g->heap, g->num_edges, k);
}

/* Every edge of b becomes an edge of a. */
static void absorb(Graph *g, int32_t a, int32_t b) {
    for (uint32_t half = g->first[b], after; half != NONE; half = after) {
        const uint32_t number = half >> 1;
        const int side = half & 1;
        Edge *edge = g->edges + number;
        after = edge->next[side];
        if (!edge->count) continue;
        const int32_t x = edge->end[!side];
        forget(g, pair_of(b, x));
        Slot *slot = slot_of(g, pair_of(a, x));
        if (slot->pair != FREE) {
            Edge *twin = g->edges + slot->edge, *shorter = distance(edge) < distance(twin) ? edge : twin;
            const double total = edge->total + twin->total;
            const uint32_t count = edge->count + twin->count;
            edge->count = twin->count = 0;
            shorter->total = total, shorter->count = count;
            if (shorter == twin) continue;
        }
        *slot = (Slot){pair_of(a, x), number};
        edge->end[side] = a;
        list(g, a, number, side);
    }
}

static int64_t merge_all(Graph *g, int64_t n, int64_t *pairs, double *altitude) {
    int64_t size = g->num_edges, merges = 0;
    while (size && merges < n - 1) {
        Edge *edge = g->edges + g->heap[0].edge;
        if (edge->count && distance(edge) > g->heap[0].key) {
            g->heap[0].key = distance(edge);
        } else {
            if (edge->count) {
                const int larger = g->length[edge->end[0]] < g->length[edge->end[1]];
                const int32_t a = edge->end[larger], b = edge->end[!larger];
                pairs[2 * merges] = b, pairs[2 * merges + 1] = a, altitude[merges++] = distance(edge);
                edge->count = 0;
                forget(g, pair_of(a, b));
                absorb(g, a, b);
            }
            g->heap[0] = g->heap[--size];
        }
        if (size) sink(g->heap, size, 0);
    }
    return merges;
}

/* The merges in their order: a point of either cluster, and the altitude. Returns their number, -1 without memory. */
int64_t average_merges(int64_t n, int64_t e, const int64_t *ends, const double *weights, int64_t *pairs, double *altitude) {
    Graph g = {.mask = 15};
    while (g.mask < (uint64_t)e * 3 / 2) g.mask = 2 * g.mask + 1;
    g.edges = malloc((size_t)(e + 1) * sizeof *g.edges);
    g.heap = malloc((size_t)(e + 1) * sizeof *g.heap);
    g.slots = malloc((size_t)(g.mask + 1) * sizeof *g.slots);
    g.first = malloc(2 * (size_t)n * sizeof *g.first);
    int64_t merges = -1;
    if (g.edges && g.heap && g.slots && g.first) {
        g.length = g.first + n;
        for (int64_t k = 0; k < n; k++) g.first[k] = NONE, g.length[k] = 0;
        for (uint64_t k = 0; k <= g.mask; k++) g.slots[k].pair = FREE;
        read_edges(&g, e, ends, weights);
        merges = merge_all(&g, n, pairs, altitude);
    }
    free(g.edges), free(g.heap), free(g.slots), free(g.first);
    return merges;
}
