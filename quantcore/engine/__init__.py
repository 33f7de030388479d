from quantcore.engine.context import CellContext, is_locked, source_uploads
from quantcore.engine.convert import Conversion, conversion_input, module_again, provenance
from quantcore.engine.grid import (
    default_workflows,
    float_cells,
    misfits,
    plan,
    quantized_cells,
    refusals,
    require_used,
)
from quantcore.engine.keys import FLOAT32, image_size
from quantcore.engine.latency import (
    TimedFile,
    Timing,
    answer_turns,
    time_in_turns,
)
from quantcore.engine.metrics import GUESSES, Z_95, top_guesses
from quantcore.engine.pipeline import (
    MACHINE_LOCK,
    PRELOADED_MODULES,
    cached_results,
    cell_key,
    failure,
    run_cell,
)
from quantcore.engine.predict import evaluation_logits, load_logits, store_logits
from quantcore.engine.predictions import SHIPPED, logits_of
from quantcore.engine.suggestions import suggested_variants, variant_of
from quantcore.engine.together import timed_together

__all__ = [
    "FLOAT32",
    "GUESSES",
    "MACHINE_LOCK",
    "PRELOADED_MODULES",
    "SHIPPED",
    "Z_95",
    "CellContext",
    "Conversion",
    "TimedFile",
    "Timing",
    "answer_turns",
    "cached_results",
    "cell_key",
    "context",
    "conversion_input",
    "default_workflows",
    "evaluation_logits",
    "failure",
    "float_cells",
    "image_size",
    "is_locked",
    "keys",
    "load_logits",
    "logits_of",
    "metrics",
    "misfits",
    "module_again",
    "pipeline",
    "plan",
    "predictions",
    "processor",
    "provenance",
    "quantized_cells",
    "refusals",
    "require_used",
    "run_cell",
    "source_uploads",
    "stages",
    "store_logits",
    "suggested_variants",
    "suggestions",
    "time_in_turns",
    "time_model",
    "timed_together",
    "top_guesses",
    "variant_of",
]
