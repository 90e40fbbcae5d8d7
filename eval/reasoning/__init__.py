"""Queries that need reasoning, on meshes and scenes whose answers are known.

subjects    meshes with true parts: a body with geometric parts, PartNet objects, procedural ones
bodies      geometric parts of a scan that has no labels
faust       the FAUST protocol of SATR and Reasoning3D: labels on vertices, coarse 4 and fine 17
readers/    Reason3D, Instruct3D, Intent3D, VG-w/o-ON, 3D-ReasonSeg, Surprise3D: queries and the points they mean
answers     kept answers to such queries, scored
views       what is rendered of a subject, and the regions that an exact or a noisy segmenter finds there
noise       the noise table: how far each way of fusing regions bears each kind of noise
report      tables and pictures
"""
