"""Services outside the engine that methods consult (`Consult`): OpenAI-compatible endpoints."""
