# make env      create (or reuse) the environment; its Python is the last line printed
# make demo     a procedural scene, photos to answers, on a CPU, no downloads (about 10 minutes)
# make test     every test
# make figures  the pictures of the README anew, in docs/figures (some minutes the first time; ARGS="--nerfstudio RUN" for that of ns-viewer)
SHELL := /bin/bash
DEMO ?= demo

.PHONY: env demo test figures
env:
	@.ci/env

demo:
	@python=$$(.ci/env | tail -n 1) && PATH="$$(dirname $$python):$$PATH" $$python -m semquery demo --out $(DEMO)

test:
	@python=$$(.ci/env | tail -n 1) && PATH="$$(dirname $$python):$$PATH" $$python -m pytest $(ARGS)

figures:
	@python=$$(.ci/env | tail -n 1) && PATH="$$(dirname $$python):$$PATH" $$python -m eval.figures $(ARGS)
