import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # for `machine_facts`; importlib mode adds nothing itself
