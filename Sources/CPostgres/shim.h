#ifndef KEYTURN_CPOSTGRES_SHIM_H
#define KEYTURN_CPOSTGRES_SHIM_H

#include <libpq-fe.h>

/* The field codes of libpq are character macros, which Swift takes for something else than an int. */
static inline const char *keyturn_result_sqlstate(const PGresult *result) {
    return PQresultErrorField(result, PG_DIAG_SQLSTATE);
}

#endif
