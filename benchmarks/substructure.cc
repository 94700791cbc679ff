// The work of `leading_jets` as one plain C++ program: fastjet for all clustering, loops by hand for the rest.
// Built and run by bench_substructure.py.
//
//     substructure PARTICLES OUT REPEATS
//
// PARTICLES: int64 number of events, int64 offsets, float64 px, py, pz, E. OUT: float64 rows of two jets of every event
// that has two: the columns of `names` below. Prints seconds per event of the default and of the full set.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "fastjet/ClusterSequence.hh"

using fastjet::ClusterSequence;
using fastjet::JetDefinition;
using fastjet::PseudoJet;

namespace {

const double R = 1.0, ZCUT = 0.1, PTMIN = 20.0;
// tau1 tau2 tau3 tau4 tau1b2 n msd | zg rg e2 c2 d2 n2 m2 lha ptd
const int DEFAULTS = 7, FULL = 16;

struct Event {
  std::vector<PseudoJet> particles;
};

struct Constituents {
  std::vector<double> pt, rap, phi;
  double sum = 0;
  explicit Constituents(const std::vector<PseudoJet>& found) {
    for (const auto& p : found) {
      pt.push_back(p.pt()), rap.push_back(p.rap()), phi.push_back(p.phi());
      sum += p.pt();
    }
  }
};

inline double distance2(double rap, double phi, double axis_rap, double axis_phi) {
  const double drap = rap - axis_rap, dphi = M_PI - std::abs(M_PI - std::abs(phi - axis_phi));
  return drap * drap + dphi * dphi;
}

void taus(const Constituents& c, const ClusterSequence& sequence, double* out, PseudoJet& axis) {
  const int n = c.pt.size();
  for (int number = 1; number <= 4; ++number) {
    out[number - 1] = 0;
    if (number == 1) out[4] = 0, axis = sequence.exclusive_jets_up_to(1)[0];
    if (n <= number) continue;
    const auto axes = sequence.exclusive_jets_up_to(number);
    double rap[4], phi[4];
    for (int k = 0; k < number; ++k) rap[k] = axes[k].rap(), phi[k] = axes[k].phi();
    double one = 0, two = 0;
    for (int i = 0; i < n; ++i) {
      double best = 1e300;
      for (int k = 0; k < number; ++k) best = std::min(best, distance2(c.rap[i], c.phi[i], rap[k], phi[k]));
      one += c.pt[i] * std::sqrt(best);
      two += c.pt[i] * best;
    }
    out[number - 1] = one / (c.sum * R);
    if (number == 1) out[4] = two / (c.sum * R * R);
  }
}

void soft_drop(const ClusterSequence& sequence, double& mass, double& zg, double& rg) {
  PseudoJet jet = sequence.exclusive_jets(1)[0], one, two;
  zg = rg = 0;
  while (jet.has_parents(one, two)) {
    const double a = one.pt(), b = two.pt();
    if (std::min(a, b) > ZCUT * (a + b)) {
      zg = std::min(a, b) / (a + b), rg = one.delta_R(two);
      break;
    }
    jet = a > b ? one : two;
  }
  mass = std::sqrt(std::max(0.0, jet.m2()));
}

void correlators(const Constituents& c, double* out) {
  const int n = c.pt.size();
  std::vector<double> z(n), angle(static_cast<size_t>(n) * n);
  double e2 = 0, e3 = 0, one3 = 0, two3 = 0;
  for (int i = 0; i < n; ++i) {
    z[i] = c.pt[i] / c.sum;
    for (int j = 0; j < i; ++j) {
      const double d = std::sqrt(distance2(c.rap[i], c.phi[i], c.rap[j], c.phi[j]));
      angle[static_cast<size_t>(i) * n + j] = d;
      e2 += z[i] * z[j] * d;
    }
  }
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < i; ++j) {
      const double *a = &angle[static_cast<size_t>(i) * n], *b = &angle[static_cast<size_t>(j) * n], third = a[j];
      double product = 0, smallest = 0, two = 0;
      for (int k = 0; k < j; ++k) {
        const double low = std::min(a[k], b[k]), high = std::max(a[k], b[k]);
        product += z[k] * a[k] * b[k];
        smallest += z[k] * std::min(low, third);
        two += z[k] * low * std::min(high, third);
      }
      const double weight = z[i] * z[j];
      e3 += weight * third * product, one3 += weight * smallest, two3 += weight * two;
    }
  out[0] = e2, out[1] = e3 / (e2 * e2), out[2] = e3 / (e2 * e2 * e2), out[3] = two3 / (e2 * e2), out[4] = one3 / e2;
}

void angularities(const Constituents& c, const PseudoJet& axis, double& lha, double& ptd) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < c.pt.size(); ++i) {
    const double z = c.pt[i] / c.sum;
    sum += z * std::sqrt(std::sqrt(distance2(c.rap[i], c.phi[i], axis.rap(), axis.phi())) / R);
    squares += z * z;
  }
  lha = sum, ptd = std::sqrt(squares);
}

void describe(const std::vector<PseudoJet>& found, bool full, double* out) {
  static const JetDefinition ca(fastjet::cambridge_algorithm, JetDefinition::max_allowable_R);
  static const JetDefinition wta(fastjet::kt_algorithm, JetDefinition::max_allowable_R, fastjet::WTA_pt_scheme);
  const Constituents c(found);
  PseudoJet axis;
  taus(c, ClusterSequence(found, wta), out, axis);
  out[5] = found.size();
  double zg, rg;
  soft_drop(ClusterSequence(found, ca), out[6], zg, rg);
  if (full) {
    out[7] = zg, out[8] = rg;
    correlators(c, out + 9);
    angularities(c, axis, out[14], out[15]);
  }
}

double run(const std::vector<double>& momenta, const std::vector<int64_t>& offsets, bool full, std::vector<double>& out) {
  static const JetDefinition antikt(fastjet::antikt_algorithm, R);
  out.clear();
  const clock_t start = std::clock();
  for (size_t e = 0; e + 1 < offsets.size(); ++e) {
    std::vector<PseudoJet> particles;
    particles.reserve(offsets[e + 1] - offsets[e]);
    for (int64_t i = offsets[e]; i < offsets[e + 1]; ++i) {
      const double* p = &momenta[4 * i];
      particles.emplace_back(p[0], p[1], p[2], p[3]);
    }
    const ClusterSequence sequence(particles, antikt);
    const auto jets = fastjet::sorted_by_pt(sequence.inclusive_jets(PTMIN));
    if (jets.size() < 2) continue;
    for (int j = 0; j < 2; ++j) {
      out.resize(out.size() + (full ? FULL : DEFAULTS));
      describe(jets[j].constituents(), full, &out[out.size() - (full ? FULL : DEFAULTS)]);
    }
  }
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / (offsets.size() - 1);
}

template <typename T>
std::vector<T> take(std::FILE* file, size_t count) {
  std::vector<T> out(count);
  if (std::fread(out.data(), sizeof(T), count, file) != count) std::exit(2);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 1;
  ClusterSequence::set_fastjet_banner_stream(nullptr);
  std::FILE* file = std::fopen(argv[1], "rb");
  if (!file) return 2;
  const int64_t events = take<int64_t>(file, 1)[0];
  const auto offsets = take<int64_t>(file, events + 1);
  const auto momenta = take<double>(file, 4 * offsets.back());
  std::fclose(file);
  std::vector<double> out;
  double best[2] = {1e300, 1e300};
  for (int repeat = 0; repeat < std::atoi(argv[3]); ++repeat)
    for (int full = 0; full < 2; ++full) best[full] = std::min(best[full], run(momenta, offsets, full, out));
  std::printf("%.9g %.9g\n", best[0], best[1]);
  file = std::fopen(argv[2], "wb");
  std::fwrite(out.data(), sizeof(double), out.size(), file);
  return std::fclose(file);
}
