"""Background templates, and the scorers made of them."""

from __future__ import annotations

from resonaut.models.templates.anode import Anode
from resonaut.models.templates.base import (
    BackgroundTemplate,
    available_templates,
    make_template,
    register_template,
    template_class,
)
from resonaut.models.templates.cathode import Cathode, CathodeTemplate, LaCathode, LaCathodeTemplate
from resonaut.models.templates.curtains import Curtains, CurtainsTemplate
from resonaut.models.templates.feta import Feta, FetaTemplate
from resonaut.models.templates.given import Given, GivenTemplate, store_template
from resonaut.models.templates.mass import MassModel
from resonaut.models.templates.mix import Combination, MixTemplate
from resonaut.models.templates.sa_cwola import SACWoLa, SACWoLaTemplate, SidebandsTransfer, SidebandsTransferTemplate
from resonaut.models.templates.salad import Salad, SaladTemplate
from resonaut.models.templates.scorer import HeldOut, TemplateScorer
from resonaut.models.templates.sidebands import CWoLa, SidebandTemplate
from resonaut.models.templates.tag_n_train import TagNTrain
from resonaut.models.templates.truth import IdealisedTemplate, TruthTemplate

__all__ = (
    "Anode",
    "BackgroundTemplate",
    "CWoLa",
    "Cathode",
    "CathodeTemplate",
    "Combination",
    "Curtains",
    "CurtainsTemplate",
    "Feta",
    "FetaTemplate",
    "Given",
    "GivenTemplate",
    "HeldOut",
    "IdealisedTemplate",
    "LaCathode",
    "LaCathodeTemplate",
    "MassModel",
    "MixTemplate",
    "SACWoLa",
    "SACWoLaTemplate",
    "Salad",
    "SaladTemplate",
    "SidebandTemplate",
    "SidebandsTransfer",
    "SidebandsTransferTemplate",
    "TagNTrain",
    "TemplateScorer",
    "TruthTemplate",
    "available_templates",
    "make_template",
    "register_template",
    "store_template",
    "template_class",
)
