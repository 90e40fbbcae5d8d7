/* The multiresolution hash grid on a CPU: plain serial loops, compiled on first use by grid.py.
 *
 * Layout and arithmetic are those of grid.py (and tiny-cuda-nn's grid.h). Every function works on a
 * range, of points or of levels, so that the caller can give disjoint ranges to threads: points write
 * disjoint rows of `out` and `grad_x`; levels own disjoint rows of `grad_table`. Nothing here can race.
 *
 * FEATURES, the width of a table row, is a compile-time constant: the inner loop becomes one vector.
 */
#include <math.h>
#include <stdint.h>

typedef struct {
    float scale;         /* cells along an edge, not always whole */
    uint32_t resolution; /* vertices along an edge */
    uint32_t size;       /* table rows of the level */
    uint32_t offset;     /* first table row of the level */
} Level;

typedef struct {
    uint32_t row[8];  /* table rows of the corners of the cell */
    float weight[8];  /* their trilinear weights */
    float from[3];    /* position inside the cell, 0..1 */
} Cell;

static inline uint32_t row_of_vertex(const Level *level, const uint32_t v[3]) {
    const uint64_t r = level->resolution;
    if (r * r * r <= level->size) /* the modulo also wraps vertices just outside, as in tiny-cuda-nn */
        return (v[0] + v[1] * (uint32_t)r + v[2] * (uint32_t)(r * r)) % level->size;
    return (v[0] ^ v[1] * 2654435761u ^ v[2] * 805459861u) % level->size;
}

static inline Cell cell_of(const Level *level, const float *x) {
    Cell cell;
    uint32_t low[3];
    for (int d = 0; d < 3; d++) {
        const float position = x[d] * level->scale + 0.5f, whole = floorf(position);
        low[d] = (uint32_t)(int32_t)whole;
        cell.from[d] = position - whole;
    }
    for (int c = 0; c < 8; c++) {
        const uint32_t v[3] = {low[0] + (c & 1), low[1] + (c >> 1 & 1), low[2] + (c >> 2)};
        cell.row[c] = level->offset + row_of_vertex(level, v);
        cell.weight[c] = 1.0f;
        for (int d = 0; d < 3; d++) cell.weight[c] *= (c >> d & 1) ? cell.from[d] : 1.0f - cell.from[d];
    }
    return cell;
}

/* out[n, levels*FEATURES] for points first..last-1; one level after the other keeps its table in cache. */
void grid_forward(const Level *levels, int num_levels, const float *table, const float *x, float *out,
                  int64_t first, int64_t last) {
    for (int l = 0; l < num_levels; l++) {
        for (int64_t i = first; i < last; i++) {
            const Cell cell = cell_of(levels + l, x + 3 * i);
            float sum[FEATURES] = {0};
            for (int c = 0; c < 8; c++) {
                const float *row = table + (int64_t)cell.row[c] * FEATURES;
                for (int f = 0; f < FEATURES; f++) sum[f] += cell.weight[c] * row[f];
            }
            float *to = out + (i * num_levels + l) * FEATURES;
            for (int f = 0; f < FEATURES; f++) to[f] = sum[f];
        }
    }
}

/* Adds to grad_table, for levels first..last-1 and all n points. */
void grid_backward_table(const Level *levels, int num_levels, const float *x, const float *grad_out,
                         float *grad_table, int64_t n, int first, int last) {
    for (int l = first; l < last; l++) {
        for (int64_t i = 0; i < n; i++) {
            const float *grad = grad_out + (i * num_levels + l) * FEATURES;
            int any = 0; /* points behind the surface or of other losses often carry no gradient */
            for (int f = 0; f < FEATURES; f++) any |= grad[f] != 0.0f;
            if (!any) continue;
            const Cell cell = cell_of(levels + l, x + 3 * i);
            for (int c = 0; c < 8; c++) {
                float *row = grad_table + (int64_t)cell.row[c] * FEATURES;
                for (int f = 0; f < FEATURES; f++) row[f] += cell.weight[c] * grad[f];
            }
        }
    }
}

/* grad_x[n, 3] for points first..last-1: the derivative of the trilinear weights. */
void grid_backward_x(const Level *levels, int num_levels, const float *table, const float *x,
                     const float *grad_out, float *grad_x, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
        float sum[3] = {0};
        for (int l = 0; l < num_levels; l++) {
            const Cell cell = cell_of(levels + l, x + 3 * i);
            const float *grad = grad_out + (i * num_levels + l) * FEATURES;
            for (int c = 0; c < 8; c++) {
                const float *row = table + (int64_t)cell.row[c] * FEATURES;
                float dot = 0.0f;
                for (int f = 0; f < FEATURES; f++) dot += grad[f] * row[f];
                for (int d = 0; d < 3; d++) {
                    float slope = (c >> d & 1) ? levels[l].scale : -levels[l].scale;
                    for (int o = 0; o < 3; o++)
                        if (o != d) slope *= (c >> o & 1) ? cell.from[o] : 1.0f - cell.from[o];
                    sum[d] += dot * slope;
                }
            }
        }
        for (int d = 0; d < 3; d++) grad_x[3 * i + d] = sum[d];
    }
}
