/* rsyslog_omod.h: the part of rsyslog's module interface that an output module needs.
 *
 * Written for omrust from what rsyslog 8.2102 to 8.2610 do; it holds nothing of rsyslog's own headers, and building needs none
 * of them. bindgen turns it into omrust/src/abi/sys.rs, which is committed and compared by a test. 64-bit layout.
 */
#ifndef RSYSLOG_OMOD_H
#define RSYSLOG_OMOD_H

#include <stdint.h>

/* Opaque to a module. Messages (smsg_t) are not here at all: their layout depends on how rsyslog was built. */
typedef struct OmodNvlst OmodNvlst;       /* the parameters of one action(...), as parsed */
typedef struct OmodOmsr OmodOmsr;         /* which templates an action asks for */
typedef struct OmodStats OmodStats;       /* one object of impstats */

/* One rendered template of one message. The text ends with a NUL that lenStr does not count.
 * Before 8.2508 lenStr is 0 for templates of type "subtree": then the NUL tells the length. */
typedef struct OmodParam {
    uint8_t *param;
    uint32_t lenBuf;
    uint32_t lenStr;
} OmodParam;

/* What a module says about a parameter that it takes; the name in lower case. */
typedef struct OmodDescr {
    const char *name;
    int32_t type;
    uint32_t flags;
} OmodDescr;

typedef struct OmodDescrBlock {
    uint16_t version;
    uint16_t nParams;
    const OmodDescr *descr;
} OmodDescrBlock;

/* A string of libestr: this head, then lenStr bytes without a NUL. */
typedef struct OmodEstr {
    uint32_t lenStr;
    uint32_t lenBuf;
} OmodEstr;

typedef struct OmodArray {
    uint32_t nodetype;
    int32_t nmemb;
    OmodEstr **arr;
} OmodArray;

typedef union OmodValueData {
    OmodEstr *estr;
    OmodArray *array;
    int64_t number;
    void *other;
} OmodValueData;

typedef struct OmodValue {
    OmodValueData d;
    char datatype; /* 'S' string, 'N' number, 'A' array */
} OmodValue;

/* One per entry of the descriptor block, in its order. */
typedef struct OmodParamValue {
    OmodValue val;
    uint8_t bUsed;
} OmodParamValue;

/* rsyslog's registry of interfaces. */
typedef struct OmodObjIf {
    int32_t ifVersion; /* 2 */
    int32_t ifIsLoaded;
    int (*UseObj)(const char *srcFile, const char *objName, const char *objFile, void *interface);
    int (*ReleaseObj)(const char *srcFile, const char *objName, const char *objFile, void *interface);
    void *others[13];
} OmodObjIf;

/* Counters. The slots from 10 on moved in 8.2602 and again in 8.2608: see omrust/src/abi/stats.rs. */
typedef struct OmodStatsIf {
    int32_t ifVersion;
    int32_t ifIsLoaded;
    void *DebugPrint;
    int (*Construct)(OmodStats **object);
    int (*ConstructFinalize)(OmodStats *object);
    int (*Destruct)(OmodStats **object);
    int (*SetName)(OmodStats *object, const uint8_t *name);
    int (*SetOrigin)(OmodStats *object, const uint8_t *origin);
    void *SetReadNotifier;
    void *SetReportingNamespace;
    void *SetStatsObjFlags;
    void *GetAllStatsLines;
    void *moving[54]; /* more than any version has: none may write behind our memory */
} OmodStatsIf;
typedef int (*OmodAddCounter)(OmodStats *object, const uint8_t *name, int type, int8_t flags, void *counter);

/* What modInit gets and gives. */
typedef int (*OmodQueryEntry)(const char *name, void **entry);
typedef int (*OmodHostQuery)(const char *name, void **entry);

/* Functions of rsyslogd, found by name in the running program. */
typedef void (*OmodLogMsg)(int error_number, int code, int severity, const char *format, ...);
typedef void (*OmodParserErrmsg)(const char *format, ...);
typedef void (*OmodDbgprintf)(const char *source, const char *format, ...);
typedef OmodParamValue *(*OmodNvlstGetParams)(OmodNvlst *list, const OmodDescrBlock *block, OmodParamValue *reuse);
typedef void (*OmodCnfparamvalsDestruct)(const OmodParamValue *values, const OmodDescrBlock *block);
typedef int (*OmodOmsrConstruct)(OmodOmsr **request, int templates);
typedef int (*OmodOmsrSetEntry)(OmodOmsr *request, int index, char *template_name, int options); /* takes the name over: free() */
typedef int (*OmodOmsrDestruct)(OmodOmsr *request);
typedef int (*OmodObjGetObjInterface)(OmodObjIf *interface);

enum {
    OMOD_INTERFACE = 6,        /* of modInit */
    OMOD_OBJ_INTERFACE = 2,
    OMOD_DESCR_VERSION = 1,
    OMOD_TYPE_OUTPUT = 1,
    OMOD_KEEP = 1,             /* never unload */
    OMOD_FEATURE_REPEATED_MSG = 1,

    OMOD_PARAM_STRING = 14,    /* OmodDescr.type */
    OMOD_PARAM_ARRAY = 15,
    OMOD_NO_TEMPLATE_OPTIONS = 0,
    OMOD_TEMPLATES_MAX = 5,

    OMOD_COUNTER_U64 = 0,
    OMOD_COUNTER_RESETTABLE = 1,

    OMOD_SEVERITY_ERROR = 3,
    OMOD_SEVERITY_WARNING = 4,
    OMOD_SEVERITY_NOTICE = 5,
    OMOD_SEVERITY_INFO = 6,

    OMOD_OK = 0,
    OMOD_OUT_OF_MEMORY = -6,
    OMOD_MISSING_INTERFACE = -1001,
    OMOD_ENTRY_POINT_NOT_FOUND = -1004,  /* the only answer that an optional entry point may get */
    OMOD_CONFLINE_UNPROCESSED = -2001,   /* "not my line": any other answer ends the search for its owner */
    OMOD_INCOMPATIBLE = -2003,
    OMOD_SUSPENDED = -2007,
    OMOD_CONF_PARSE_ERROR = -2207,
    OMOD_MISSING_CNFPARAMS = -2211,
    OMOD_DATAFAIL = -2218,
    OMOD_NO_CODE = -1,                   /* for LogMsg: no link behind the text */
    OMOD_ERROR = -3000
};

#endif
