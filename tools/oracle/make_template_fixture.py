#!/usr/bin/env python3
"""Chat templates in the style of the published model families, and what `transformers` renders with them.

Writes tests/fixtures/templates.json: [{"name", "template", "messages", "tools", "extra", "add_generation_prompt", "bos_token", "eos_token",
"text"} or {..., "error": true}, ...]. The templates are written for this test; they use what those of the families use.
"""

import argparse
import json
import pathlib

from transformers.utils.chat_template_utils import render_jinja_template

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# SmolLM2 and many others: a default system message, blocks on lines of their own.
DEFAULT_SYSTEM = """{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}
{% endif %}
{{'<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>' + '\n'}}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
# Qwen 2.5: tools, calls of tools, their answers.
QWEN = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- "# Tools\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}{{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not (message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- content }}{{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}"""
# Llama 3: headers, trimmed contents, checks that raise, indented JSON.
LLAMA = r"""{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{%- if tools is not none %}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\n\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at once") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
        {{- tool_call.name + "(" }}
        {%- for arg_name, arg_val in tool_call.arguments | items %}
            {{- arg_name + '="' ~ arg_val ~ '"' }}{%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
        {{- ")<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
# Mistral: roles that must alternate, a system message before the last user's.
MISTRAL = r"""{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" and message.content is not none %}
        {{- " " + message["content"] + eos_token }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported!") }}
    {%- endif %}
{%- endfor %}"""
# Macros, calls of macros by macros, keyword arguments, defaults, captured blocks, break and continue.
MACROS = r"""{%- macro type_of(spec) -%}
    {%- set known = {"string": "str", "number": "float", "integer": "int"} %}
    {%- if spec.type is string and spec.type in known %}{{- known[spec.type] }}
    {%- elif spec.type == "array" %}{{- "list[" + type_of(spec["items"]) + "]" }}
    {%- elif spec.type is iterable and spec.type is not string %}{{- spec.type | map("upper") | join("|") }}
    {%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{% macro show(name, value="none", wide=false) %}{{ name }}={{ value }}{% if wide %}!{% endif %}

{% endmacro %}
{%- for tool in tools or [] %}
    {%- for name, spec in tool.function.parameters.properties | dictsort %}
        {{- name ~ ": " ~ type_of(spec) ~ ("" if loop.last else ", ") }}
    {%- else %}{{- "no parameters" }}
    {%- endfor %}
{%- endfor %}
{% set block %}captured {{ messages | length }}{% endset %}
{{ block | upper }} {{ show("a") }}{{ show(name="b", value=2, wide=true) }}
{%- for message in messages %}
    {%- if message.role == "system" %}{% continue %}{% endif %}
    {%- if loop.index > 3 %}{% break %}{% endif %}
    {{- loop.index }}/{{ loop.length }} {{ loop.cycle("odd", "even") }} {{ loop.previtem.role if loop.previtem is defined else "start" }}
{% endfor -%}
{# a comment
   of two lines #}
{%+ if true %}kept blanks{%+ endif %}
{% raw %}{{ raw }} {% not a tag %}{% endraw %}
"""
# What Python makes of values.
VALUES = r"""{% set x = {"a": 1, 'b': [1.5, true, none, "it's"], "c": {"d": "é\n\"q\""}} %}{{ x }}
{{ x | tojson }} {{ x.b[-1] }} {{ x["c"].d[1:3] | tojson }} {{ [1, 2, 3, 4][::-1] }} {{ "abcdef"[::2] }} {{ (1, 2) }} {{ (1,) }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1e16 }} {{ 1.0 }} {{ 0.00001 }} {{ 10 / 5 }} {{ "a" * 3 }} {{ [0] * 2 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 2 in [1, 2] }} {{ "b" not in "abc" }} {{ not false and true or false }} {{ undefined_thing }}|{{ undefined_thing is defined }}
{{ " x y ".strip() ~ "|" ~ "a,b,,c".split(",") ~ "a b  c".split() ~ "a-b-c".split("-", 1) ~ "l1\nl2\r\nl3".splitlines() }}
{{ "Hello World".lower() }} {{ "straße élan".upper() }} {{ "hello world".title() }} {{ "hELLO".capitalize() }} {{ "abc".replace("b", "[b]") }} {{ "aXbX".rstrip("X") }}
{{ [3, 1, 2] | sort }} {{ ["b", "A", "c"] | sort(reverse=true) }} {{ [1, 1, 2] | unique | list }} {{ [1, 2, 3] | sum }} {{ [1, 5, 3] | max }} {{ "x" | default("d") }} {{ none | default("d", true) }}
{{ [{"n": "a", "v": 1}, {"n": "b", "v": 0}] | selectattr("v") | map(attribute="n") | join(",") }} {{ [1, 2, 3, 4] | select("even") | list }} {{ [1, 2] | reject("equalto", 1) | list }} {{ ["a", none] | map("string") | list }}
{{ "l1\nl2\n\nl3" | indent(2) }}|{{ "l1\nl2" | indent(width=1, first=true) }} {{ 3.7 | int }} {{ "12" | int + 1 }} {{ 2.5 | round }} {{ "3" | float }} {{ -3 | abs }} {{ "abc" | first }} {{ [1, 2] | last }} {{ "abc" | reverse }} {{ "<a&'b'>" | e }}
{{ range(3) | list }} {{ range(5, 0, -2) | list }} {{ x.items() | list }} {{ x.keys() | list }} {{ x.get("zz", 5) }} {{ x.get("zz") }} {{ {"b": 1, "a": 2} | dictsort }} {{ {"b": [1, {"c": 2}], "a": []} | tojson(indent=2) }} {{ {"b": 1, "a": 2} | tojson(sort_keys=true, separators=(",", ":")) }}
{{ 5 is odd }} {{ 4 is divisibleby 2 }} {{ "a" is string }} {{ [] is mapping }} {{ {} is mapping }} {{ 1 is number }} {{ true is boolean }} {{ 1 is eq 1 }} {{ 3 is gt 2 }} {{ "a" is in "abc" }} {{ "%s has %d" % ("a", 3) }} {{ "a" if false }}|{{ "yes" if 1 else "no" }} {{ "x".startswith(("x", "y")) }} {{ "abcabc".find("c") }} {{ "abc".count("b") }}
{%- for k, v in x.items() if k != "b" %} {{ k }}={{ v }};{% endfor %}{% for i in [] %}{% else %} none{% endfor %} {{ messages | map(attribute="role") | unique | join("+") }} {{ ["x", "y"] | join(", ") | length }} {{ "e\u0301\t" | tojson }} {{ "'" }} {{ ["'", '"', '\'"', "\u200b"] }}
"""
GENERATION = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather \"now\" in a city <b>, in \u00b0C",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "it's a name"},
                    "days": {"type": "array", "items": {"type": "integer"}},
                    "unit": {"type": ["string", "null"], "enum": ["C", "F"]},
                },
                "required": ["city"],
            },
            "return": {"type": "number"},
        },
    }
]
USER = {"role": "user", "content": "  Hi, <|im_end|> \u4f60\u597d!\n"}
CHATS = {
    "one": [USER],
    "two": [USER, {"role": "assistant", "content": "<think>\nlong\n</think>\n\nHello."}, {"role": "user", "content": "More"}],
    "system": [{"role": "system", "content": " Be brief. "}, USER, {"role": "assistant", "content": "Ok", "reasoning_content": "hm\n"}],
    "calls": [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "K\u00f6ln", "days": [1, 2]}}}]},
        {"role": "tool", "content": "{\"t\": 21.5}"},
        {"role": "assistant", "content": "Warm."},
    ],
}  # fmt: skip
TEMPLATES = {
    "chatml": CHATML, "default_system": DEFAULT_SYSTEM, "qwen": QWEN, "llama": LLAMA, "mistral": MISTRAL, "macros": MACROS, "values": VALUES,
    "generation": GENERATION,
}  # fmt: skip


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/templates.json")
    out = parser.parse_args().out
    cases = []
    for name, template in TEMPLATES.items():
        for chat, messages in CHATS.items():
            if name == "values" and chat != "two":
                continue
            for variant in range(2):
                tools = TOOLS if variant else None
                extra = {"enable_thinking": False, "date_string": "1 Feb 2026"} if variant else {}
                case = {
                    "name": f"{name}/{chat}/{variant}", "template": template, "messages": messages, "tools": tools, "extra": extra,
                    "add_generation_prompt": bool(variant), "bos_token": "<s>", "eos_token": "</s>",
                }  # fmt: skip
                try:
                    rendered, spans = render_jinja_template(
                        [messages], tools=tools, chat_template=template, return_assistant_tokens_mask=name == "generation",
                        add_generation_prompt=case["add_generation_prompt"], bos_token="<s>", eos_token="</s>", **extra,
                    )  # fmt: skip
                    case["text"] = rendered[0]
                    if name == "generation":
                        case["generated"] = [rendered[0][a:b] for a, b in spans[0]]
                except Exception as error:  # whatever Jinja and the template raise
                    case["error"] = str(error)
                cases.append(case)
    # A template is written once, with its first case.
    seen = set()
    for case in cases:
        key = case["name"].split("/")[0]
        if key in seen:
            del case["template"]
        seen.add(key)
    out.write_text(json.dumps(cases, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(cases)} cases, {sum('error' in c for c in cases)} of them errors, {out.stat().st_size} bytes")
    for case in cases:
        if "error" in case:
            print(case["name"], case["error"])


if __name__ == "__main__":
    main()
