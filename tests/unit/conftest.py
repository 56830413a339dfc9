from __future__ import annotations

import hypothesis

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")
