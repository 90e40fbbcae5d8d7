"""Serves LISA to semquery over HTTP. Runs in LISA's own environment, beside its repository (github.com/dvlab-research/LISA):

    PYTHONPATH=/path/to/LISA python lisa_server.py --checkpoint xinlai/LISA-13B-llama2-v0-explanatory --port 8090

The protocol is semquery/segmenter/lisa.py's: POST /segment {"image": base64 PNG, "query": text} → {"regions": [{"mask", "score",
"embedding", "text", "label"}]}. LISA's own `evaluate` throws the [SEG] embedding and the predicted overlap away; they are overheard
where they pass, between its language model, SAM's prompt encoder and SAM's mask decoder.

Only the protocol is tested, with a stand-in for the model; the part that loads LISA has not been run with weights by this project.
To serve another model, hand `serve` any function (picture [h, w, 3], query) → [{"mask": bool [h, w], …}].
"""

import argparse
import base64
import hmac
import io
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

LARGEST = 64 << 20  # bytes of a request


class LisaModel:
    """LISA, loaded: (picture, query) → regions. One picture at a time."""

    def __init__(self, checkpoint, tower="openai/clip-vit-large-patch14", max_tokens=512):
        import torch
        from model.LISA import LISAForCausalLM
        from model.segment_anything.utils.transforms import ResizeLongestSide
        from transformers import AutoTokenizer, CLIPImageProcessor

        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, model_max_length=max_tokens, padding_side="right", use_fast=False)
        self.tokenizer.pad_token = self.tokenizer.unk_token
        seg = self.tokenizer("[SEG]", add_special_tokens=False).input_ids[0]
        self.lisa = LISAForCausalLM.from_pretrained(
            checkpoint, low_cpu_mem_usage=True, vision_tower=tower, seg_token_idx=seg, torch_dtype=torch.bfloat16)
        for name in ("eos_token_id", "bos_token_id", "pad_token_id"):
            setattr(self.lisa.config, name, getattr(self.tokenizer, name))
        self.lisa.get_model().initialize_vision_modules(self.lisa.get_model().config)
        self.lisa = self.lisa.bfloat16().cuda().eval()
        self.lisa.get_model().get_vision_tower().to(dtype=torch.bfloat16, device="cuda")
        self.tower, self.resize, self.max_tokens = CLIPImageProcessor.from_pretrained(tower), ResizeLongestSide(1024), max_tokens
        self.heard = {}
        sam = self.lisa.get_model().visual_model
        sam.prompt_encoder.register_forward_hook(lambda module, given, out: self.heard.update(embeddings=out[0]))  # [k, 1, 256]
        sam.mask_decoder.register_forward_hook(lambda module, given, out: self.heard.update(overlaps=out[1]))  # [k, 1]

    def __call__(self, image, query):
        import torch
        from model.llava.mm_utils import tokenizer_image_token
        from utils.utils import IMAGE_TOKEN_INDEX

        self.heard.clear()
        ids = tokenizer_image_token(self._prompt(query), self.tokenizer, return_tensors="pt")[None].cuda()
        seen = self.tower.preprocess(image, return_tensors="pt")["pixel_values"].cuda().bfloat16()
        pixels, fitted = self._for_sam(image)
        with torch.no_grad():
            said, masks = self.lisa.evaluate(
                seen, pixels, ids, [fitted], [image.shape[:2]], max_new_tokens=self.max_tokens, tokenizer=self.tokenizer)
        text = self.tokenizer.decode(said[0][said[0] != IMAGE_TOKEN_INDEX], skip_special_tokens=True).split("ASSISTANT:")[-1].strip()
        if not masks or not len(masks[0]):  # it wrote no [SEG]: nothing that it would show
            return []
        overlaps, embeddings = self.heard["overlaps"].float().cpu().numpy(), self.heard["embeddings"].float().cpu().numpy()
        return [{"mask": mask > 0, "score": float(np.clip(overlaps[k, 0], 0, 1)), "embedding": embeddings[k, 0].tolist(), "text": text}
                for k, mask in enumerate(masks[0].float().cpu().numpy())]

    @staticmethod
    def _prompt(query):
        from model.llava import conversation
        from utils.utils import DEFAULT_IM_END_TOKEN, DEFAULT_IM_START_TOKEN, DEFAULT_IMAGE_TOKEN

        talk = conversation.conv_templates["llava_v1"].copy()
        talk.messages = []
        talk.append_message(talk.roles[0], DEFAULT_IM_START_TOKEN + DEFAULT_IMAGE_TOKEN + DEFAULT_IM_END_TOKEN + "\n" + query)
        talk.append_message(talk.roles[1], "")
        return talk.get_prompt()

    def _for_sam(self, image):
        """The picture as SAM takes it, [1, 3, 1024, 1024], and the height and width that it fills; the rest is zeros."""
        import torch

        fitted = self.resize.apply_image(image)
        mean, spread = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        square = np.zeros((1024, 1024, 3), np.float32)
        square[: fitted.shape[0], : fitted.shape[1]] = (fitted - mean) / spread
        return torch.from_numpy(square).permute(2, 0, 1)[None].cuda().bfloat16(), fitted.shape[:2]


def answer(model, record):
    """The reply to a request. Raises ValueError for what is none."""
    if not isinstance(record, dict) or not isinstance(record.get("image"), str) or not isinstance(record.get("query"), str):
        raise ValueError("expected {\"image\": base64 of a PNG, \"query\": text}")
    try:
        with Image.open(io.BytesIO(base64.b64decode(record["image"], validate=True))) as picture:
            image = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError("the image is no base64 of a PNG: %s" % error)
    return {"regions": [dict(region, mask=encoded(region["mask"])) for region in model(image, record["query"])]}


def encoded(mask):
    """A boolean mask [h, w] as the base64 of a PNG, 255 inside."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, bool).astype(np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def serve(model, port=8090, host="127.0.0.1", key=""):
    """A server that answers with `model`, ready to `serve_forever`; it demands the key if there is one."""
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            if length > LARGEST:
                self.close_connection = True
                return self.reply(413, {"error": "a request has %d bytes at most" % LARGEST})
            body = self.rfile.read(length)
            if key and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), ("Bearer " + key).encode()):
                return self.reply(401, {"error": "the key is missing or wrong"})
            if self.path != "/segment":
                return self.reply(404, {"error": "there is only /segment"})
            try:
                with one_at_a_time:
                    record = answer(model, json.loads(body))
            except ValueError as error:
                return self.reply(400, {"error": str(error)})
            except Exception as error:  # out of memory, for example: the client may try again
                return self.reply(500, {"error": "%s: %s" % (type(error).__name__, error)})
            self.reply(200, record)

        def reply(self, status, record):
            data = json.dumps(record).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *told):
            pass

    return ThreadingHTTPServer((host, port), Handler)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve LISA to semquery.")
    parser.add_argument("--checkpoint", default="xinlai/LISA-13B-llama2-v0-explanatory")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 to be reached from other machines")
    parser.add_argument("--port", type=int, default=8090)
    told = parser.parse_args()
    server = serve(LisaModel(told.checkpoint), told.port, told.host, os.environ.get("LISA_API_KEY", ""))
    print("LISA answers at http://%s:%d/segment" % (told.host, told.port), flush=True)
    server.serve_forever()
