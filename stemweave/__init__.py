"""Stemweave: separate, generate and arrange multi-track music with one diffusion model.

An open implementation of MSG-LD (arXiv 2409.12346). Axis letters used in every signature:
``B`` batch, ``S`` stems, ``T`` samples, ``F`` mel frames, ``M`` mel bands, ``C`` latent channels,
``H``×``W`` latent grid (``H`` is time, ``W`` is frequency).
"""
