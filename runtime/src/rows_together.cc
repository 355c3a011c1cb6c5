// Convolutions in groups, which read and write the same pixels. It may use what steps may.
#include "epilogue_step.h"
#include "steps.h"

namespace bopkit {
namespace {

class RowsTogether : public Step {
 public:
  explicit RowsTogether(std::vector<std::unique_ptr<EpilogueStep>> steps)
      : Step(-1), steps_(std::move(steps)) {}

  std::string name() const override {
    return std::to_string(steps_.size()) + " x " + steps_[0]->name();
  }

  bool shape(StepContext& shared) override {
    for (const auto& step : steps_) {
      if (!step->shape(shared)) return fail(step->error().c_str());
    }
    const Value& first = shared.value(steps_[0]->writes()[0]);
    images_ = first.n;
    rows_ = first.h;
    for (const auto& step : steps_) {
      const Value& output = shared.value(step->writes()[0]);
      if (output.n != images_ || output.h != rows_) return fail("has images of different sizes");
    }
    return true;
  }

  bool prepare(const StepContext& shared) override {
    for (const auto& step : steps_) {
      if (!step->prepare(shared)) return fail(step->error().c_str());
    }
    return true;
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    for (const auto& step : steps_) step->start(shared, session);
    session.run(images_ * rows_, macs_ns(shared.kernels), [&](int unit) {
      for (const auto& step : steps_) step->run_row(shared, unit / rows_, unit % rows_);
    });
  }

  std::vector<int> reads() const override {
    return all([](const Step& step) { return step.reads(); });
  }
  std::vector<int> writes() const override {
    return all([](const Step& step) { return step.writes(); });
  }

  int64_t float_macs() const override { return sum(&Step::float_macs); }
  int64_t int8_macs() const override { return sum(&Step::int8_macs); }

 private:
  template <typename Function>
  std::vector<int> all(const Function& values_of) const {
    std::vector<int> values;
    for (const auto& step : steps_) {
      const std::vector<int> each = values_of(*step);
      values.insert(values.end(), each.begin(), each.end());
    }
    return values;
  }
  int64_t sum(int64_t (Step::*macs_of)() const) const {
    int64_t macs = 0;
    for (const auto& step : steps_) macs += ((*step).*macs_of)();
    return macs;
  }

  std::vector<std::unique_ptr<EpilogueStep>> steps_;
  int images_ = 0, rows_ = 0;
};

}  // namespace

std::unique_ptr<Step> make_rows_together(std::vector<std::unique_ptr<EpilogueStep>> steps) {
  return std::make_unique<RowsTogether>(std::move(steps));
}

}  // namespace bopkit
