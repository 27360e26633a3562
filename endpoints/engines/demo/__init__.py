"""The demo engine: a small model server that speaks vLLM's protocol and metrics, so that a laptop can show the whole
journey.

It is a real server with a small model: a 4-gram back-off model built at start from `corpus.txt`. Its words are
computed and its token counts are counted, never canned; it says "demo engine" wherever it names itself. Presence,
frequency and repetition penalties are accepted and have no effect.
"""
