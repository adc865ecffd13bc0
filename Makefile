# rotor: `make help` lists what can be made. Everything made goes to build/.
#
# CC, CFLAGS and LDFLAGS are honoured (the user's flags come behind ours); V=1 shows each command.
# VARIANT=asan, tsan or fuzz makes the same things with other flags, in build/asan and so on.

all: library module examples ## Build the library, the Lua module and the examples (the default)

# ---- Settings ------------------------------------------------------------------------------------

VERSION   := $(shell sed -n 's/.*define ROTOR_VERSION "\(.*\)"/\1/p' csrc/rotor.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
ADDR   ?= 127.0.0.1:8080
BUILD  := build$(addprefix /,$(VARIANT))

# The sanitized variants name their compiler: the runtime that is preloaded into Lua is gcc's, the
# fuzzer is clang's.
COMPILER_asan = gcc
COMPILER_tsan = gcc
COMPILER_fuzz = clang
COMPILER = $(or $(COMPILER_$(VARIANT)),$(CC))

# Assertions are for the sanitized variants: they guard against bugs of the caller only.
NDEBUG = $(if $(VARIANT),,-DNDEBUG)

SANITIZE_asan = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1
SANITIZE_tsan = -fsanitize=thread -fno-omit-frame-pointer -O1
SANITIZE_fuzz = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
SANITIZE = $(SANITIZE_$(VARIANT))

# Without semantic interposition gcc may inline across the functions of one file despite -fPIC.
FLAGS = -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -fno-semantic-interposition \
        -Wall -Wextra -Wconversion -Wshadow -Wno-unused-parameter $(NDEBUG) $(SANITIZE) -Icsrc $(UV_CFLAGS)

# Not `:=`, as on a bare machine pkg-config may come with what is installed on the way. Without
# pkg-config, the usual places will do.
UV_CFLAGS     = $(shell pkg-config --cflags libuv 2>/dev/null)
UV_LIBS       = $(or $(shell pkg-config --libs libuv 2>/dev/null),-luv)
CMOCKA_CFLAGS = $(shell pkg-config --cflags cmocka 2>/dev/null)
CMOCKA_LIBS   = $(or $(shell pkg-config --libs cmocka 2>/dev/null),-lcmocka)
LUA_CFLAGS    = $(or $(shell for p in lua5.4 lua-5.4 lua54; do \
                         pkg-config --cflags $$p 2>/dev/null && break; done),-I/usr/include/lua5.4)
LUA_LIBS      = $(or $(shell for p in lua5.4 lua-5.4 lua54; do \
                         pkg-config --libs $$p 2>/dev/null && break; done),-llua5.4)
LUA          ?= $(shell for l in lua5.4 lua54 lua-5.4 lua; do \
                    $$l -e 'os.exit(_VERSION == "Lua 5.4")' 2>/dev/null && echo $$l && break; done)

# ---- What there is -------------------------------------------------------------------------------

LIB_C     := $(wildcard csrc/core/*.c csrc/stream/*.c csrc/http/*.c)
MODULE_C  := $(wildcard csrc/lua/*.c)
TEST_C    := $(wildcard csrc/test/test_*.c)
# Any other file in csrc/test is linked to every test.
SHARED_C  := $(filter-out $(TEST_C),$(wildcard csrc/test/*.c))
FUZZ_C    := $(wildcard csrc/fuzz/fuzz_*.c)
# What programs in Lua load: the examples that say so, and modules for the tests.
LOADED_C  := $(shell grep -ls '^ROTOR_EXPORTS' examples/*.c) $(wildcard csrc/test/lua/*.c)
EXAMPLE_C := $(filter-out $(LOADED_C),$(wildcard examples/*.c))
BENCH_C   := $(wildcard bench/*.c)
ALL_C     := $(LIB_C) $(MODULE_C) $(TEST_C) $(SHARED_C) $(FUZZ_C) $(LOADED_C) $(EXAMPLE_C) $(BENCH_C)
ALL_LUA   := $(sort $(shell find lua -name '*.lua'))
ROCKSPEC  := rockspec/rotor-scm-1.rockspec

# What a user of librotor includes; the inner ones are between the files of their folders.
INNER_H := %private.h %/fields.h %/put.h %/scan.h
HEADERS := csrc/rotor.h csrc/rotor_lua.h \
    $(filter-out $(INNER_H),$(wildcard csrc/core/*.h csrc/stream/*.h csrc/http/*.h))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

TESTS    := $(patsubst csrc/test/%.c,$(BUILD)/test/%,$(TEST_C))
FUZZERS  := $(patsubst csrc/fuzz/%.c,$(BUILD)/fuzzers/%,$(FUZZ_C))
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(EXAMPLE_C))
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(BENCH_C)) $(BUILD)/bench/parser_scalar
LOADED   := $(patsubst csrc/%,%,$(LOADED_C))
LOADED   := $(patsubst test/lua/%.c,$(BUILD)/test/%.so,$(LOADED:examples/%.c=$(BUILD)/examples/%.so))
LOADED_EXAMPLES := $(filter $(BUILD)/examples/%,$(LOADED))
LOADED_TESTS    := $(filter $(BUILD)/test/%,$(LOADED))

.PHONY: all library module examples tests fuzzers benches
library:  $(BUILD)/librotor.a $(BUILD)/librotor.so
module:   $(BUILD)/rotor/core.so $(BUILD)/lua
examples: $(EXAMPLES) $(LOADED_EXAMPLES)
tests:    $(TESTS) $(LOADED_TESTS)
fuzzers:  $(FUZZERS)
benches:  $(BENCHES)

# ---- What is needed ------------------------------------------------------------------------------

# .ci/need probes for each thing, and installs or names what is missing.
NEED = @CC='$(COMPILER)' CFLAGS='$(CFLAGS)' LUA='$(LUA)' .ci/need

.PHONY: need-c need-lua need-cmocka need-libev
need-c:
	$(NEED) compiler libuv
need-lua: need-c
	$(NEED) compiler libuv lua
need-cmocka: need-c
	$(NEED) cmocka
need-libev: need-c
	$(NEED) libev

# ---- Building ------------------------------------------------------------------------------------

Q    := $(if $(filter 1,$(V)),,@)
TELL := $(if $(findstring s,$(firstword -$(MAKEFLAGS))),:,printf)
say   = $(if $(Q),@$(TELL) '  %-4s %s\n' '$(1)' '$(2)')

.DELETE_ON_ERROR:

# Changes when the flags do, and then everything is made anew.
$(BUILD)/flags: FORCE | need-c
	@mkdir -p $(@D)
	@echo '$(COMPILER) $(FLAGS) $(CFLAGS) $(LDFLAGS)' | cmp -s - $@ || \
	    echo '$(COMPILER) $(FLAGS) $(CFLAGS) $(LDFLAGS)' > $@
.PHONY: FORCE

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$(<:csrc/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(FLAGS) $(EXTRA) $(CFLAGS) -MMD -MP -c $< -o $@ 2> $@.log; \
	    status=$$?; cat $@.log >&2; exit $$status

$(call objects,$(MODULE_C) $(LOADED_C)): EXTRA = $(LUA_CFLAGS)
$(call objects,$(MODULE_C) $(LOADED_C)): | need-lua
$(call objects,$(TEST_C) $(SHARED_C)): EXTRA = $(CMOCKA_CFLAGS)
$(call objects,$(TEST_C) $(SHARED_C)): | need-cmocka

-include $(patsubst %.o,%.d,$(call objects,$(ALL_C)))

$(BUILD)/librotor.a: $(call objects,$(LIB_C))
	$(call say,AR,$(@:build/%=%))
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Calls within a shared object are bound to it when it is linked, and cost no indirection.
SHARE = -shared -Wl,-Bsymbolic-functions

$(BUILD)/librotor.so: $(call objects,$(LIB_C))
	$(call say,LINK,$(@:build/%=%))
	$(Q)$(COMPILER) $(SHARE) -Wl,-z,defs -Wl,-soname,librotor.so.$(SOVERSION) $(SANITIZE) $^ -o $@ \
	    $(LDFLAGS) $(UV_LIBS)
	@ln -sf librotor.so $@.$(SOVERSION)

# A leak is looked for when the module would be gone, and its lines could not be told any more.
KEEP_asan = -Wl,-z,nodelete

$(BUILD)/rotor/core.so: $(call objects,$(MODULE_C) $(LIB_C))
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(SHARE) $(KEEP_$(VARIANT)) $(SANITIZE) $^ -o $@ $(LDFLAGS) $(UV_LIBS)

# What is loaded finds rotor's functions in the module that loads it.
define LINK_LOADED
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) -shared $(SANITIZE) $< -o $@ $(LDFLAGS)
endef
$(LOADED_EXAMPLES): $(BUILD)/%.so: $(BUILD)/obj/%.o
	$(LINK_LOADED)
$(LOADED_TESTS): $(BUILD)/test/%.so: $(BUILD)/obj/csrc/test/lua/%.o
	$(LINK_LOADED)

# Programs hold the library, so that they run from anywhere.
PROGRAMS = $(EXAMPLES) $(patsubst %.c,$(BUILD)/%,$(BENCH_C))
$(PROGRAMS): $(BUILD)/%: $(BUILD)/obj/%.o $(BUILD)/librotor.a
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(SANITIZE) $^ -o $@ $(LDFLAGS) $(MORE_LIBS) $(UV_LIBS)

$(call objects,bench/echo_libev.c): | need-libev
$(BUILD)/bench/echo_libev: MORE_LIBS = -lev

# The parser without SIMD: the compiler is told that there is none.
$(BUILD)/bench/parser_scalar: bench/parser.c csrc/http/scan.c $(wildcard csrc/http/parse*.c) \
                              $(BUILD)/librotor.a
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(FLAGS) $(CFLAGS) -U__SSE2__ -U__ARM_NEON $^ -o $@ $(LDFLAGS) $(UV_LIBS)

# Only where Go is installed. Nothing goes to its cache in the home directory.
$(BUILD)/bench/http_go: bench/http_go.go
	$(call say,GO,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)GOCACHE=$(CURDIR)/$(BUILD)/go go build -o $@ $<

# The tests in C of the Lua module hold both the module and Lua.
LUA_TESTS := test_lua test_lua_http test_lua_sockets test_lua_system test_lua_tasks test_lua_threads
LUA_TESTS_O := $(LUA_TESTS:%=$(BUILD)/obj/csrc/test/%.o)
$(LUA_TESTS_O): EXTRA = $(CMOCKA_CFLAGS) $(LUA_CFLAGS)
$(LUA_TESTS_O): | need-lua
$(LUA_TESTS:%=$(BUILD)/test/%): $(call objects,$(MODULE_C)) | $(BUILD)/test/loaded.so
$(LUA_TESTS:%=$(BUILD)/test/%): MORE_LIBS = -rdynamic $(LUA_LIBS) -lm

# These are about files of the module that know nothing of Lua.
$(BUILD)/test/test_shared: $(call objects,csrc/lua/shared.c)
$(BUILD)/test/test_thread_channel: $(call objects,csrc/lua/thread_queue.c)

$(TESTS): $(BUILD)/test/%: $(BUILD)/obj/csrc/test/%.o $(call objects,$(SHARED_C)) \
          $(BUILD)/librotor.a
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(SANITIZE) $(filter %.o,$^) $(filter %.a,$^) -o $@ \
	    $(LDFLAGS) $(MORE_LIBS) $(CMOCKA_LIBS) $(UV_LIBS)

$(FUZZERS): $(BUILD)/fuzzers/%: $(BUILD)/obj/csrc/fuzz/%.o $(BUILD)/librotor.a
	$(call say,LINK,$(@:build/%=%))
	@mkdir -p $(@D)
	$(Q)$(COMPILER) $(SANITIZE) -fsanitize=fuzzer $^ -o $@ $(LDFLAGS) $(UV_LIBS)

# The runtime of a sanitizer has to be in a process before the module that was built with it.
PRELOAD_asan = env LD_PRELOAD=$(shell gcc -print-file-name=libasan.so)
PRELOAD_tsan = env LD_PRELOAD=$(shell gcc -print-file-name=libtsan.so)
# Where the tree's root is, seen from the folder of build/lua.
UP = ..$(if $(VARIANT),/..)

$(BUILD)/lua: Makefile | need-lua
	$(call say,GEN,$(@:build/%=%))
	@mkdir -p $(@D)
	@printf '%s\n' '#!/bin/sh' \
	    '# lua FILE … : run Lua with the rotor of this tree, from any folder.' \
	    'here=$$(dirname "$$(readlink -f "$$0")")' \
	    'root=$$(cd "$$here/$(UP)" && pwd)' \
	    'LUA_PATH_5_4="$$root/lua/?.lua;$$root/lua/?/init.lua;$${LUA_PATH_5_4-$${LUA_PATH-}};;"' \
	    'LUA_CPATH_5_4="$$here/?.so;$${LUA_CPATH_5_4-$${LUA_CPATH-}};;"' \
	    'export LUA_PATH_5_4 LUA_CPATH_5_4' \
	    'exec $(PRELOAD_$(VARIANT)) $(LUA) "$$@"' > $@
	@chmod +x $@

# ---- Running -------------------------------------------------------------------------------------

.PHONY: serve bench diagrams
serve: all ## Build, then serve HTTP with a handler in Lua on ADDR (127.0.0.1:8080)
	@exec build/lua examples/hello_http.lua $(ADDR)

bench: all benches ## Measure rotor against its peers; prints a table in Markdown
	$(NEED) wrk valgrind
	$(NEED) nginx nginx-lua luv cqueues node go redis-server redis-benchmark || \
	    echo 'bench: goes on without the peers that are missing'
	@! command -v go >/dev/null || $(MAKE) --no-print-directory $(BUILD)/bench/http_go
	@bench/run

diagrams: module ## Draw the protocols of the examples, as they run, into build/diagrams/*.svg
	$(NEED) graphviz
	@rm -rf $(BUILD)/diagrams && mkdir -p $(BUILD)/diagrams
	@$(BUILD)/lua .ci/diagrams.lua $(BUILD)/diagrams
	$(Q)cd $(BUILD)/diagrams && for dot in */*.dot; do \
	    svg=$$(echo "$${dot%.dot}" | tr / -).svg; \
	    $(TELL) '  %-4s %s\n' DOT "$$svg"; \
	    dot -Tsvg "$$dot" -o "$$svg" || exit 1; done

# ---- Testing -------------------------------------------------------------------------------------

# Each ends with one line "N passed, N failed". What is needed is fetched in one go beforehand.
.PHONY: test check asan tsan fuzz peers soak
test: ## Run every test there is: check, asan, tsan, fuzz, peers, lint, install, rock
	$(NEED) compiler libuv lua cmocka busted redis-server pkg-config \
	    gcc fuzzer clang clang-format clang-tidy luacheck luarocks libev curl nginx wrk
	@.ci/test check asan tsan fuzz peers lint install rock
check: ## Run the C tests and the Lua specs
	$(NEED) compiler libuv lua cmocka busted redis-server
	@.ci/test check
asan: ## Run the C tests and the Lua specs under ASan and UBSan
	$(NEED) gcc libuv lua cmocka busted redis-server
	@.ci/test asan
tsan: ## Run the C tests, and the specs of threads, under TSan
	$(NEED) gcc libuv lua cmocka busted
	@.ci/test tsan
fuzz: ## Run each fuzz target for a moment (FUZZ_RUNS=20000, FUZZ_SECONDS=20)
	$(NEED) fuzzer libuv
	@.ci/test fuzz

soak: module tests benches ## Ten minutes of good and bad clients (SECONDS=600), and what is held then
	$(NEED) curl
	@SECONDS=$(or $(SECONDS),600) bench/soak
peers: module examples $(BUILD)/bench/soak_server ## Run the examples against curl, nginx, wrk and Chromium
	$(NEED) curl nginx wrk chromium
	@.ci/peers curl nginx wrk chromium

LINTS = lint-warnings lint-clang lint-headers lint-format lint-tidy lint-lua lint-rockspec
.PHONY: lint need-lint $(LINTS)
lint: $(LINTS) ## Warnings of cc and clang, layout, clang-tidy, luacheck, the rockspec's lists
$(LINTS): | need-lint
need-lint: need-lua need-cmocka need-libev
	$(NEED) gcc clang clang-format clang-tidy luacheck luarocks

ALL_H      = $(wildcard csrc/*.h csrc/*/*.h bench/*.h)
TIDY_C     = $(LIB_C) $(EXAMPLE_C)
LINTED_OBJECTS = $(patsubst %.c,build/obj/%.o,$(ALL_C))
LINT_FLAGS = $(FLAGS) $(LUA_CFLAGS) $(CMOCKA_CFLAGS)

# A file that was found good is looked at again when it, or what it includes, has changed: its object is
# younger then.
linted     = $(patsubst %.c,build/lint/%.$(1),$(2))
look       = $(call say,LINT,$(1))
each       = +$(Q)$(MAKE) -s -j"$$(nproc)" $(call linted,$(1),$(2))

# Of what the compiler has said.
lint-warnings:
	$(call look,$(CC))
	+$(Q)$(MAKE) -s -j"$$(nproc)" $(LINTED_OBJECTS)
	$(Q)said=$$(cat $(addsuffix .log,$(LINTED_OBJECTS))) && [ -z "$$said" ] || { echo "$$said"; exit 1; }
lint-clang:
	$(call look,clang)
	$(call each,clang,$(filter-out $(TIDY_C),$(ALL_C)))
build/lint/%.clang: build/obj/%.o
	$(Q)clang $(LINT_FLAGS) -Werror -fsyntax-only $*.c
	$(Q)mkdir -p $(@D) && touch $@
# Every header of the library stands by itself.
lint-headers:
	$(call say,LINT,headers)
	$(Q)for h in $(HEADERS); do echo "#include \"$$h\"" | \
	    gcc $(LINT_FLAGS) -I. -Werror -fsyntax-only -x c - || exit 1; done
lint-format:
	$(call say,LINT,clang-format)
	$(Q)printf '%s\n' $(ALL_C) $(ALL_H) | xargs -P"$$(nproc)" -n8 \
	    clang-format --dry-run -Werror --ferror-limit=1
# With clang's warnings. Not the module: clang-tidy does not know that luaL_error never returns.
lint-tidy:
	$(call look,clang-tidy)
	$(call each,tidy,$(TIDY_C))
build/lint/%.tidy: build/obj/%.o
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet $*.c -- $(LINT_FLAGS) > $@.log 2>&1 || { grep -v ' generated\.$$' $@.log; exit 1; }
	$(Q)mv $@.log $@
lint-lua:
	$(call say,LINT,luacheck)
	$(Q)luacheck --quiet --no-color $(ALL_LUA) \
	    $(wildcard .ci/*.lua bench/*.lua examples/*.lua spec/*.lua)
# The rockspec lists every source file there is, and none that is not.
lint-rockspec:
	$(call say,LINT,$(ROCKSPEC))
	$(Q)luarocks --lua-version 5.4 lint $(ROCKSPEC)
	@mkdir -p build
	@printf '%s\n' $(sort $(LIB_C) $(MODULE_C) $(ALL_LUA)) > build/sources
	$(Q)grep -Eo '"(csrc|lua)/[^"]+\.(c|lua)"' $(ROCKSPEC) | tr -d '"' | LC_ALL=C sort | \
	    diff -u --label $(ROCKSPEC) --label 'the tree' - build/sources

# ---- Installing ----------------------------------------------------------------------------------

# LuaRocks leaves objects beside the sources, so it works on a copy.
.PHONY: rock
rock: need-lua build/examples/swap_lines.so ## Install the rock into build/rock with LuaRocks, and run a script against it
	$(NEED) luarocks
	@rm -rf build/rock build/rock-src && mkdir -p build/rock-src build/log
	@cp -R csrc lua rockspec build/rock-src
	$(call say,ROCK,$(ROCKSPEC))
	$(Q)cd build/rock-src && luarocks --lua-version 5.4 make --tree="$(CURDIR)/build/rock" \
	    $(ROCKSPEC) $(if $(Q),> ../log/make-rock 2>&1 || { cat ../log/make-rock; exit 1; })
	$(Q)LUA_PATH_5_4='build/rock/share/lua/5.4/?.lua;build/rock/share/lua/5.4/?/init.lua' \
	    LUA_CPATH_5_4='build/rock/lib/lua/5.4/?.so' $(LUA) .ci/rock.lua

define PC
prefix=$(PREFIX)
libdir=$(LIBDIR)
includedir=$${prefix}/include

Name: rotor
Description: State machines over libuv
Version: $(VERSION)
Requires: libuv
Cflags: -I$${includedir}/rotor
Libs: -L$${libdir} -lrotor
endef
export PC

# Where things are installed to, quoted for the shell.
TO_LIB     = "$(DESTDIR)$(LIBDIR)"
TO_INCLUDE = "$(DESTDIR)$(PREFIX)/include/rotor"

.PHONY: install uninstall clean help
install: library ## Install the C library (PREFIX=/usr/local, LIBDIR=PREFIX/lib, DESTDIR)
	$(call say,INST,$(DESTDIR)$(PREFIX))
	$(Q)install -d $(TO_LIB)/pkgconfig
	$(Q)install -m 644 build/librotor.a $(TO_LIB)
	$(Q)install -m 755 build/librotor.so $(TO_LIB)/librotor.so.$(VERSION)
	$(Q)ln -sf librotor.so.$(VERSION) $(TO_LIB)/librotor.so.$(SOVERSION)
	$(Q)ln -sf librotor.so.$(SOVERSION) $(TO_LIB)/librotor.so
	$(Q)for h in $(HEADERS:csrc/%=%); do install -D -m 644 csrc/$$h $(TO_INCLUDE)/$$h; done
	@printf '%s\n' "$$PC" > $(TO_LIB)/pkgconfig/rotor.pc
	@[ -n "$(DESTDIR)" ] || ldconfig 2>/dev/null || true

uninstall: ## Remove what `make install` with the same settings put there
	$(Q)rm -rf $(TO_INCLUDE) $(TO_LIB)/librotor.a $(TO_LIB)/librotor.so* \
	    $(TO_LIB)/pkgconfig/rotor.pc

clean: ## Remove build/
	$(Q)rm -rf build

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile
