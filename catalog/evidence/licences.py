"""The table of licences: what publishers of models and servers use, and what to know before using it.

Keys are SPDX identifiers, or LicenseRef-… where SPDX has none. The words are a summary by the portal, not legal advice;
whoever changes them asks everybody to acknowledge anew, because an acknowledgement is for the words that were shown.
"""

from dataclasses import dataclass

from catalog.models import Verdict


@dataclass(frozen=True)
class Licence:
    """A licence and what to know before using it; `verdict` is pass when nothing goes beyond notice and attribution.

    `acknowledge`: somebody of a project has to acknowledge `restrictions` before the project gets its first key.
    """

    name: str
    verdict: Verdict
    restrictions: str = ""
    acknowledge: bool = False


_OPEN = {
    "Apache-2.0": "Apache License 2.0",
    "MIT": "MIT License",
    "MIT-0": "MIT No Attribution",
    "0BSD": "BSD Zero Clause License",
    "BSD-2-Clause": 'BSD 2-Clause "Simplified" License',
    "BSD-3-Clause": 'BSD 3-Clause "New" or "Revised" License',
    "ISC": "ISC License",
    "Zlib": "zlib License",
    "BSL-1.0": "Boost Software License 1.0",
    "CC0-1.0": "Creative Commons Zero 1.0",
    "CC-BY-3.0": "Creative Commons Attribution 3.0",
    "CC-BY-4.0": "Creative Commons Attribution 4.0",
    "Unlicense": "The Unlicense",
    "CDLA-Permissive-1.0": "Community Data License Agreement Permissive 1.0",
    "CDLA-Permissive-2.0": "Community Data License Agreement Permissive 2.0",
    "PostgreSQL": "PostgreSQL License",
    "LicenseRef-OpenMDW-1.0": "OpenMDW License 1.0",
}
_COPYLEFT = (
    "Passing on a changed copy, or for AGPL offering it over a network, asks for the source under the same licence."
)
_FILES = "Changed files stay under the same licence."
_LIBRARY = "Changes to the library itself stay under the same licence."
_ALIKE = "Adaptations stay under the same licence."
_UNCHANGED = "Adaptations, fine-tuned weights among them, may not be passed on."
_RESTRICTED = {
    "GPL-2.0-only": ("GNU GPL 2.0 only", _COPYLEFT),
    "GPL-2.0-or-later": ("GNU GPL 2.0 or later", _COPYLEFT),
    "GPL-3.0-only": ("GNU GPL 3.0 only", _COPYLEFT),
    "GPL-3.0-or-later": ("GNU GPL 3.0 or later", _COPYLEFT),
    "AGPL-3.0-only": ("GNU AGPL 3.0 only", _COPYLEFT),
    "AGPL-3.0-or-later": ("GNU AGPL 3.0 or later", _COPYLEFT),
    "LGPL-2.1-only": ("GNU LGPL 2.1 only", _LIBRARY),
    "LGPL-2.1-or-later": ("GNU LGPL 2.1 or later", _LIBRARY),
    "LGPL-3.0-only": ("GNU LGPL 3.0 only", _LIBRARY),
    "LGPL-3.0-or-later": ("GNU LGPL 3.0 or later", _LIBRARY),
    "MPL-2.0": ("Mozilla Public License 2.0", _FILES),
    "EPL-2.0": ("Eclipse Public License 2.0", _FILES),
    "CC-BY-SA-4.0": ("Creative Commons Attribution-ShareAlike 4.0", _ALIKE),
    "CC-BY-ND-4.0": ("Creative Commons Attribution-NoDerivatives 4.0", _UNCHANGED),
    "NOASSERTION": (
        "No licence was verified",
        "Nobody has confirmed the licence yet. Read the publisher's page before use.",
    ),
}

_LLAMA = (
    "Not an open-source licence: an Acceptable Use Policy applies, and services with more than 700 million monthly "
    "users need Meta's permission. "
)
_BUILT = "Show “Built with Llama”; models made with it carry Llama in their name."
_OUTPUT = "Its output may not be used to improve another language model. "
_NOT_IN_EU = "Its multimodal models are not licensed to companies and people of the European Union. "
_RAIL = (
    "Use is restricted by its Attachment A (no harm to people, no unlawful or deceptive use, and more). The same "
    "restrictions must bind everybody who gets the model or a service with it."
)
# What restricts the use itself: a project acknowledges it before its first key.
_TERMS = {
    "LicenseRef-Llama-2-Community": ("Llama 2 Community License", _LLAMA + _OUTPUT.strip()),
    "LicenseRef-Llama-3-Community": ("Llama 3 Community License", _LLAMA + _OUTPUT + _BUILT),
    "LicenseRef-Llama-3.1-Community": (
        "Llama 3.1 Community License",
        "Not an open-source licence: an Acceptable Use Policy applies; languages beyond the eight named are out of "
        "scope unless the deployer takes responsibility. Services with more than 700 million monthly users need Meta's "
        "permission. " + _BUILT,
    ),
    "LicenseRef-Llama-3.2-Community": ("Llama 3.2 Community License", _LLAMA + _NOT_IN_EU + _BUILT),
    "LicenseRef-Llama-3.3-Community": ("Llama 3.3 Community License", _LLAMA + _BUILT),
    "LicenseRef-Llama-4-Community": ("Llama 4 Community License", _LLAMA + _NOT_IN_EU + _BUILT),
    "LicenseRef-Gemma-Terms": (
        "Gemma Terms of Use",
        "Not an open-source licence: a Prohibited Use Policy applies and must bind everybody who gets the model, a "
        "model made from it or its outputs to train one; Google may restrict use that breaks it.",
    ),
    "LicenseRef-BigScience-RAIL-1.0": ("BigScience RAIL License 1.0", _RAIL),
    "LicenseRef-BigScience-OpenRAIL-M": ("BigScience OpenRAIL-M", _RAIL),
    "LicenseRef-BigCode-OpenRAIL-M": ("BigCode OpenRAIL-M", _RAIL),
    "LicenseRef-CreativeML-OpenRAIL-M": ("CreativeML OpenRAIL-M", _RAIL),
    "LicenseRef-OpenRAIL-PlusPlus-M": ("CreativeML OpenRAIL++-M", _RAIL),
    "LicenseRef-DeepSeek-Model": ("DeepSeek Model License", _RAIL),
    "LicenseRef-Qwen": (
        "Tongyi Qianwen License Agreement",
        "Not an open-source licence: services with more than 100 million monthly users need Alibaba Cloud's "
        "permission, and its outputs may not be used to improve another language model.",
    ),
    "LicenseRef-NVIDIA-Open-Model": (
        "NVIDIA Open Model License",
        "Commercial use is allowed. The rights end for whoever takes out a guardrail without one of equal worth or "
        "sues over the model; copies carry NVIDIA's notice.",
    ),
    "LicenseRef-Falcon-2": (
        "TII Falcon License 2.0",
        "An Acceptable Use Policy applies, which its publisher may change, and must bind everybody who gets the model.",
    ),
    "LicenseRef-Falcon-180B": (
        "Falcon-180B TII License",
        "An Acceptable Use Policy applies; offering it to others as a hosted service needs TII's permission.",
    ),
    "LicenseRef-Stability-Community": (
        "Stability AI Community License",
        "An Acceptable Use Policy applies; whoever earns more than 1 million US dollars a year needs a licence for "
        "commercial use.",
    ),
    "LicenseRef-Jamba-Open-Model": (
        "Jamba Open Model License",
        "Acceptable use is restricted; whoever earns more than 50 million US dollars a year needs a licence for "
        "commercial use.",
    ),
}
_RESEARCH = "Research only: commercial or production use is not allowed."
_NO_SALE = "Commercial use is not allowed."
_REFUSED = {
    "CC-BY-NC-3.0": ("Creative Commons Attribution-NonCommercial 3.0", _NO_SALE),
    "CC-BY-NC-4.0": ("Creative Commons Attribution-NonCommercial 4.0", _NO_SALE),
    "CC-BY-NC-SA-4.0": ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0", _NO_SALE),
    "CC-BY-NC-ND-4.0": ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", _NO_SALE),
    "LicenseRef-Qwen-Research": ("Qwen Research License", _RESEARCH),
    "LicenseRef-Mistral-Research": ("Mistral AI Research License", _RESEARCH),
    "LicenseRef-Mistral-Non-Production": ("Mistral AI Non-Production License", _RESEARCH),
    "LicenseRef-FAIR-Noncommercial-Research": ("FAIR Noncommercial Research License", _RESEARCH),
    "LicenseRef-EXAONE-NC": ("EXAONE AI Model License, NC", _RESEARCH),
    "NONE": ("No licence", "Without a licence nobody but the author may use it."),
}
LICENCES: dict[str, Licence] = {
    **{key: Licence(name, Verdict.PASS) for key, name in _OPEN.items()},
    **{key: Licence(name, Verdict.WARN, text) for key, (name, text) in _RESTRICTED.items()},
    **{key: Licence(name, Verdict.WARN, text, True) for key, (name, text) in _TERMS.items()},
    **{key: Licence(name, Verdict.FAIL, text) for key, (name, text) in _REFUSED.items()},
}
