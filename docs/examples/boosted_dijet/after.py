"""Spectrum of boosted dijets from NanoAOD: the same analysis with an anomaly selection and a limit.

python after.py fileset.json
"""

from __future__ import annotations

import json
import sys

import awkward as ak
import hist
import numpy as np
from coffea.analysis_tools import PackedSelection, Weights
from coffea.nanoevents import NanoAODSchema
from coffea.processor import IterativeExecutor, ProcessorABC, Runner

from resonaut.processors import AnomalySelection, DijetFeatures
from resonaut.stats import GaussianShape, upper_limit

MASS_EDGES = [1058, 1181, 1313, 1455, 1607, 1770, 1945, 2132, 2332, 2546, 2775, 2895, 3019, 3147, 3279, 3416, 3558]
MASS_EDGES += [3704, 3854, 4010, 4171, 4337, 4509, 4686, 4869, 5058, 5253]  # GeV
LUMINOSITY = 59.8  # /fb
TRIGGERS = ("AK8PFJet500", "PFHT1050")


class BoostedDijets(ProcessorABC):
    regions = {
        "two jets": ("trigger", "two jets"),
        "central": ("trigger", "two jets", "central"),
        "tagged": ("trigger", "two jets", "central", "two prongs"),
        "anomalous": ("trigger", "two jets", "central", "0.01"),
    }
    anomaly = AnomalySelection("scorer", DijetFeatures(), "card")

    def process(self, events):
        is_simulation = "genWeight" in events.fields
        jets = events.FatJet[(events.FatJet.pt > 300) & (abs(events.FatJet.eta) < 2.5)]
        first, second = self.leading(jets)
        mjj = ak.fill_none((first + second).mass, np.nan)

        selection = PackedSelection()
        selection.add("trigger", self.triggered(events) | is_simulation)
        selection.add("two jets", ak.num(jets) >= 2)
        selection.add("central", ak.fill_none(abs(first.eta - second.eta) < 1.3, False))
        selection.add("two prongs", ak.fill_none(first["tau2"] < 0.4 * first["tau1"], False))
        self.anomaly.add_to(selection, events)

        weights = Weights(len(events), storeIndividual=True)
        if is_simulation:
            weights.add("generator", events.genWeight)
            weights.add("cross-section", np.full(len(events), LUMINOSITY * events.metadata["xsec"]))  # fb

        spectrum = hist.Hist(
            hist.axis.StrCategory(list(self.regions), name="region"),
            hist.axis.Variable(MASS_EDGES, name="mjj", label="$m_{JJ}$ [GeV]"),
            storage=hist.storage.Weight(),
        )
        softdrop = hist.Hist(
            hist.axis.StrCategory(list(self.regions), name="region"),
            hist.axis.Regular(50, 0, 500, name="msd", label="soft-drop mass [GeV]"),
            storage=hist.storage.Weight(),
        )
        for region, cuts in self.regions.items():
            kept = selection.all(*cuts)
            weight = weights.weight()[kept]
            spectrum.fill(region=region, mjj=mjj[kept], weight=weight)
            softdrop.fill(region=region, msd=first.msoftdrop[kept], weight=weight)
        counts = {region: int(selection.all(*cuts).sum()) for region, cuts in self.regions.items()}
        return {
            events.metadata["dataset"]: {
                "events": len(events),
                "generated": float(ak.sum(events.genWeight)) if is_simulation else 0.0,
                "counts": counts,
                "mjj": spectrum,
                "msd": softdrop,
            }
        }

    @staticmethod
    def leading(jets):
        padded = ak.pad_none(jets[ak.argsort(jets.pt, ascending=False)], 2)
        return padded[:, 0], padded[:, 1]

    @staticmethod
    def triggered(events):
        fired = np.zeros(len(events), dtype=bool)
        for name in TRIGGERS:
            if "HLT" in events.fields and name in events.HLT.fields:
                fired |= ak.to_numpy(events.HLT[name])
        return fired

    def postprocess(self, accumulator):
        for found in accumulator.values():
            if found["generated"]:  # simulation counts as what the cross-section gives
                found["mjj"] /= found["generated"]
                found["msd"] /= found["generated"]
        return accumulator


def main(fileset):
    run = Runner(IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=50_000)
    output = run(fileset, processor_instance=BoostedDijets())
    for dataset, found in output.items():
        print(dataset, found["events"], found["counts"])
    counts, edges = output["data"]["mjj"]["anomalous", :].values(), np.array(MASS_EDGES, dtype=float)
    limit = upper_limit((counts, edges), GaussianShape(3500, 110), fit_range=(2895, 5058), luminosity=LUMINOSITY)
    print(f"3.5 TeV: visible cross-section below {limit.observed:.2f} fb (95 % CL), expected {limit.expected[2]:.2f}")
    output["limit"] = limit
    return output


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        main(json.load(file))
