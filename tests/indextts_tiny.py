"""The acoustic modules of IndexTTS in sizes that take milliseconds, for several tests."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from intone.server.engines.indextts import acoustic, codec
from intone.server.engines.indextts.acoustic import AcousticModel, AcousticPrompt
from intone.server.engines.indextts.config import CodecConfig, DiTConfig, RegulatorConfig, Variant, WaveNetConfig
