"""`python -m deployer CONFIG.json`."""

import sys

from deployer.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
