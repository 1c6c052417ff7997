// A hostile chat template: refused, or rendered within its limits; and what a message says comes out as content alone.
#include "fuzz/fuzz.h"
#include "gradus/lm/chat_template.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gradus;
  const std::string text(fuzz::as_text(data, size));
  lm::ChatInputs inputs{
      .messages = R"([{"role": "user", "content": "<s> a\n"}, {"role": "assistant", "content": null,
      "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5, true]}}}]}, {"role": "tool", "content": "7"}])",
      .add_generation_prompt = true,
      .bos_token = "<s>",
      .eos_token = "</s>",
      .tools = R"([{"type": "function", "function": {"name": "f", "parameters": {"x": {"type": "array"}}}}])"};
  inputs.limits = {.steps = 20000, .output_bytes = 1 << 16, .made_bytes = 1 << 20};
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::unsupported, ErrorCode::invalid_argument, ErrorCode::exhausted},
                    [&] {
                      const lm::Rendered r = lm::ChatTemplate(text).render(inputs);
                      fuzz::expect(r.text.size() <= 1 << 16, "the result is within its limit");
                      std::size_t at = 0;
                      for (const lm::Span& s : r.content) {
                        fuzz::expect(s.begin >= at && s.begin < s.end && s.end <= r.text.size(),
                                     "parts are in order and within the text");
                        at = s.end;
                      }
                    });
  // The same bytes as what a user sends.
  static const lm::ChatTemplate chatml(
      "{% for m in messages %}{{ '<s>' + m.role + ':' + m.content + '</s>' }}{% endfor %}{{ tools }}");
  fuzz::expect_only({ErrorCode::corrupt, ErrorCode::invalid_argument, ErrorCode::exhausted}, [&] {
    inputs.messages = text;
    chatml.render(inputs);
  });
  return 0;
}
