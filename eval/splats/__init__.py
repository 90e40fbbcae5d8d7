"""What Gaussian splats are worth: part trees on splats beside trees on the mesh they stand for, under the same masks.

    python -m eval splats --out DIR                                     table-top and chair, three mask regimes, three seeds
    python -m eval splats --out DIR --refine 300                        … with splats optimised against the photos first
    python -m eval splats --out DIR --ways mesh surface trained         … beside the surface of a radiance field (minutes a scene)

made     Gaussians on a known scene's surface and floaters, the true part of each known
refine   the same after some hundred steps of optimisation against the photos
judge    labels of Gaussians against the truth, purity of nodes, floaters caught
run      every scene, way, mask regime and seed
report   tables and a picture of every scene
"""
