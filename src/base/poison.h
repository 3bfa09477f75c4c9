/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools keep memory that is free. Under AddressSanitizer nobody may touch what a pool has got back
 * until it is handed out again, else a use after free would go unnoticed; in other builds these do
 * nothing.
 */
#ifndef BH_BASE_POISON_H
#define BH_BASE_POISON_H

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define BH_POISON_ON
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define BH_POISON_ON
#endif

#ifdef BH_POISON_ON
#include <sanitizer/asan_interface.h>
#define BH_POISON(p, size)   __asan_poison_memory_region((p), (size))
#define BH_UNPOISON(p, size) __asan_unpoison_memory_region((p), (size))
#else
#define BH_POISON(p, size)   ((void)(p), (void)(size))
#define BH_UNPOISON(p, size) ((void)(p), (void)(size))
#endif

#endif
