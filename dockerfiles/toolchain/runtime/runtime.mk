# The parts of the runtime, side by side: each needs the sources and nothing of the others.
# usage: make -j JOBS -f runtime.mk SRC_DIR=… BUILD_DIR=… LIB_DIR=…
here := $(dir $(lastword $(MAKEFILE_LIST)))
parts := libstdcxx libc libgcc libatomic

.PHONY: all $(parts)
all: $(parts)
$(parts):
	+@start=$$(date +%s); log=$(BUILD_DIR)/$@.log; \
	if ! $(here)$@.sh $(SRC_DIR) $(BUILD_DIR) $(LIB_DIR) > $$log 2>&1; then \
	    echo "$@: failed; the end of its output:"; tail -n 40 $$log; exit 1; \
	fi; \
	echo "$@: $$(($$(date +%s) - start)) s"
