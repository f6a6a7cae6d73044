#ifndef KEYTURN_CLINUX_SHIM_H
#define KEYTURN_CLINUX_SHIM_H

#include <sys/prctl.h>

/* prctl is variadic, which Swift can't call. See prctl(2), PR_SET_DUMPABLE: no core dump whatever the limits say, and no
   other process of the same user may attach to this one or read its memory. */
static inline int keyturn_refuse_dumps(void) {
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

#endif
