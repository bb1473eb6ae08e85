//go:build cgo && !noopencl

// load.c: the OpenCL library, opened at run time by the names that Go hands over.
#include "shim.h"

#if defined(_WIN32)
#include <windows.h>

static void *open_library(const char *name) { return (void *)LoadLibraryA(name); }
static void *find_symbol(void *lib, const char *name) { return (void *)GetProcAddress((HMODULE)lib, name); }
static const char *why_not(void) { return "LoadLibrary failed"; }
static void *open_self(void) { return NULL; } // nothing preloads libraries there
#else
#include <dlfcn.h>

static void *open_library(const char *name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
static void *find_symbol(void *lib, const char *name) { return dlsym(lib, name); }
static const char *why_not(void) {
  const char *why = dlerror();
  return why ? why : "dlopen failed";
}
static void *open_self(void) { return dlopen(NULL, RTLD_NOW); }
#endif

static void *library;

const char *clshim_open(const char *name) {
  void *lib = open_library(name);
  if (!lib) return why_not();
  __atomic_store_n(&library, lib, __ATOMIC_RELEASE);
  return NULL;
}

int clshim_open_preloaded(void) {
  // The functions of forward.c are hidden, so this finds only what another library brought.
  void *self = open_self();
  if (!self || !find_symbol(self, "clGetPlatformIDs")) return 0;
  __atomic_store_n(&library, self, __ATOMIC_RELEASE);
  return 1;
}

void *clshim_symbol(void **slot, const char *name) {
  void *found = __atomic_load_n(slot, __ATOMIC_RELAXED);
  if (found) return found;
  void *lib = __atomic_load_n(&library, __ATOMIC_ACQUIRE);
  if (!lib) return NULL;
  found = find_symbol(lib, name);
  __atomic_store_n(slot, found, __ATOMIC_RELAXED);
  return found;
}

int clshim_has(const char *name) {
  void *slot = NULL;
  return clshim_symbol(&slot, name) != NULL;
}
