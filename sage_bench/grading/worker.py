"""The child process that runs math-verify: one JSON line in, one JSON line out. Started by `grading.pool`.

math-verify guards itself with SIGALRM, which fails off the main thread and disarms other timers; here both its timeouts
are off and the parent kills the process instead.
"""

from __future__ import annotations

import json
import logging
import sys


def equivalent(gold: str, answer: str) -> dict[str, object]:
    """{"correct": bool, "status": "ok" | "parse_error"}: math-verify on boxed gold and boxed answer."""
    from math_verify import verify

    parsed_gold, parsed_answer = parse_boxed(gold), parse_boxed(answer)
    if parsed_gold and parsed_answer and verify(parsed_gold, parsed_answer, timeout_seconds=None):
        return {"correct": True, "status": "ok"}
    unread = not is_mathematics(parsed_answer) and is_mathematics(parsed_gold)
    return {"correct": False, "status": "parse_error" if unread else "ok"}


def is_mathematics(parsed: list[object]) -> bool:
    """math-verify falls back to the bare text where it understands nothing."""
    return any(not isinstance(x, str) for x in parsed)


def is_gold(text: str) -> bool:
    """Mathematics, or words (`Friday`, `D`); LaTeX that stayed text is neither."""
    parsed = parse_boxed(text)
    return is_mathematics(parsed) or any("\\" not in str(x) for x in parsed)


def parse_boxed(text: str) -> list[object]:
    """math-verify's reading of an answer. Bare golds parse wrongly (`3\\sqrt{13}` becomes 3), boxed ones do not."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    found = parse("\\boxed{" + text + "}", (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()), parsing_timeout=None)
    return [x for x in found if not isinstance(x, str) or x.strip()]


def main() -> None:
    logging.disable(logging.WARNING)  # math-verify warns about the missing timeouts for every row
    import math_verify  # noqa: F401  (paid once, before the parent's clock starts)

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            if job["answer"] is None:
                reply: dict[str, object] = {"correct": is_gold(job["gold"]), "status": "ok"}
            else:
                reply = equivalent(job["gold"], job["answer"])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 math-verify's own TimeoutException is no Exception; the row says what happened
            reply = {"correct": False, "status": "crash", "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
