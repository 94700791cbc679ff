"""Background templates, and the scorers made of them."""

from __future__ import annotations

from resonaut.models.templates.base import (
    BackgroundTemplate,
    available_templates,
    make_template,
    register_template,
    template_class,
)
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.scorer import HeldOut, TemplateScorer
from resonaut.models.templates.sidebands import CWoLa, SidebandTemplate

__all__ = (
    "BackgroundTemplate",
    "CWoLa",
    "HeldOut",
    "MassModel",
    "SidebandTemplate",
    "TemplateScorer",
    "available_templates",
    "make_template",
    "register_template",
    "template_class",
)
