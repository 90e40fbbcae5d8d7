"""Tiny checkpoints of the SAM family with random weights: the real files, opened by the real code, a second each.

Random weights trust nothing they say: ask with the thresholds of EVERYTHING to get masks at all.
"""

from pathlib import Path

FAMILIES = ("sam", "sam_hq", "sam2", "sam3_tracker")
SIDE = {"sam": 64, "sam_hq": 64, "sam2": 64, "sam3_tracker": 56}  # of the square the model sees
EVERYTHING = {"min_predicted_iou": -10.0, "min_stability": -1.0, "box_iou": 1.0, "min_region": 0, "same_iou": 1.0}


def write_checkpoint(family: str, folder: Path) -> Path:
    """A checkpoint of one family, the same every time."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(7)
        model, processor = MAKERS[family]()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def sam():
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    side = SIDE["sam"]
    config = SamConfig(**_plain(side), initializer_range=0.02)
    return SamModel(config), SamProcessor(SamImageProcessor(**_padded(side)))


def sam_hq():
    from transformers import SamHQConfig, SamHQModel, SamHQProcessor, SamImageProcessor

    side = SIDE["sam_hq"]
    config = _plain(side)
    config["mask_decoder_config"]["vit_dim"] = 32
    return SamHQModel(SamHQConfig(**config, initializer_range=0.02)), SamHQProcessor(SamImageProcessor(**_padded(side)))


def sam2():
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2ImageProcessor, Sam2Model, Sam2Processor, Sam2VisionConfig

    side = SIDE["sam2"]
    backbone = Sam2HieraDetConfig(
        image_size=[side, side], hidden_size=8, embed_dim_per_stage=[8, 16, 32, 64], blocks_per_stage=[1, 1, 2, 1],
        num_attention_heads=1, num_attention_heads_per_stage=[1, 1, 2, 2], window_size_per_stage=[4, 2, 2, 2],
        global_attention_blocks=[3], window_positional_embedding_background_size=[4, 4])
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8],
                              backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=16)
    config = Sam2Config(vision_config=vision, **_prompts(side, 16))
    return Sam2Model(config), Sam2Processor(Sam2ImageProcessor(**_squashed(side, side // 4)))


def sam3_tracker():
    from transformers import Sam3ImageProcessor, Sam3TrackerConfig, Sam3TrackerModel, Sam3TrackerProcessor, Sam3VisionConfig, Sam3ViTConfig

    side = SIDE["sam3_tracker"]
    backbone = Sam3ViTConfig(image_size=side, patch_size=14, pretrain_image_size=28, hidden_size=32, intermediate_size=64,
                             num_hidden_layers=2, num_attention_heads=2, window_size=2, global_attn_indexes=[1])
    vision = Sam3VisionConfig(backbone_config=backbone, fpn_hidden_size=16, backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]])
    config = Sam3TrackerConfig(vision_config=vision, **_prompts(side, 14))
    return Sam3TrackerModel(config), Sam3TrackerProcessor(Sam3ImageProcessor(**_squashed(side, 16)))


def _plain(side: int) -> dict:
    """Configurations of SAM's three parts."""
    vision = {"hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": side, "patch_size": 16,
              "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 8, "mlp_dim": 64, "initializer_range": 0.02}
    return {"vision_config": vision, **_prompts(side, 16)}


def _prompts(side: int, patch: int) -> dict:
    prompts = {"hidden_size": 16, "image_size": side, "patch_size": patch, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    return {"prompt_encoder_config": prompts, "mask_decoder_config": decoder}


def _padded(side: int) -> dict:
    low = {"height": side // 4, "width": side // 4}
    return {"size": {"longest_edge": side}, "pad_size": {"height": side, "width": side}, "mask_size": {"longest_edge": side // 4}, "mask_pad_size": low}


def _squashed(side: int, low: int) -> dict:
    return {"size": {"height": side, "width": side}, "mask_size": {"height": low, "width": low}}


MAKERS = {"sam": sam, "sam_hq": sam_hq, "sam2": sam2, "sam3_tracker": sam3_tracker}
