/* A host for omrust.so that does what a well-behaved rsyslogd never does, or does only at the wrong moment.
 *
 *     fake-host omrust.so names NAME...          asks for entry points and prints the answers
 *     fake-host omrust.so version NUMBER         offers another module interface
 *     fake-host omrust.so stats NUMBER           has this version of the counters' interface
 *     fake-host omrust.so order P=V...           an action with these parameters; frees it before its workers
 *     fake-host omrust.so cancel P=V...          cancels a worker's thread again and again while it is in the module
 *
 * What the module says goes to stdout. Built with -DWITHOUT_OMSR it lacks a function that the module needs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../include/rsyslog_omod.h"

int bFinished;
int Debug;

static int stats_version = 13;
static char **parameters;
static int parameter_count;

void LogMsg(int number, int code, int severity, const char *format, ...) {
    va_list arguments;
    (void)number;
    printf("log %d %d ", severity, code);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    puts("");
}

static OmodEstr *estr(const char *text) {
    size_t length = strlen(text);
    OmodEstr *made = malloc(sizeof *made + length);
    made->lenStr = made->lenBuf = (uint32_t)length;
    memcpy(made + 1, text, length);
    return made;
}

OmodParamValue *nvlstGetParams(OmodNvlst *list, const OmodDescrBlock *block, OmodParamValue *reuse) {
    OmodParamValue *values = calloc(block->nParams, sizeof *values);
    (void)list;
    (void)reuse;
    for (int i = 0; i < block->nParams; ++i) {
        size_t length = strlen(block->descr[i].name);
        for (int p = 0; p < parameter_count; ++p) {
            if (strncmp(parameters[p], block->descr[i].name, length) == 0 && parameters[p][length] == '=') {
                values[i].bUsed = 1;
                values[i].val.datatype = 'S';
                values[i].val.d.estr = estr(parameters[p] + length + 1);
            }
        }
        if (block->descr[i].type == OMOD_PARAM_ARRAY && values[i].bUsed) {
            OmodArray *array = malloc(sizeof *array);
            array->nodetype = 'A';
            array->nmemb = 1;
            array->arr = malloc(sizeof *array->arr);
            array->arr[0] = values[i].val.d.estr;
            values[i].val.datatype = 'A';
            values[i].val.d.array = array;
        }
    }
    return values;
}

void cnfparamvalsDestruct(const OmodParamValue *values, const OmodDescrBlock *block) {
    for (int i = 0; i < block->nParams; ++i) {
        if (values[i].bUsed && values[i].val.datatype == 'A') {
            free(values[i].val.d.array->arr[0]);
            free(values[i].val.d.array->arr);
        }
        if (values[i].bUsed)
            free(values[i].val.d.other);
    }
    free((void *)values);
}

struct OmodOmsr {
    int count;
    char *names[OMOD_TEMPLATES_MAX];
};

int OMSRconstruct(OmodOmsr **request, int templates) {
    *request = calloc(1, sizeof **request);
    (*request)->count = templates;
    return 0;
}

int OMSRsetEntry(OmodOmsr *request, int index, char *name, int options) {
    printf("template %d %s %d\n", index, name, options);
    request->names[index] = name;
    return 0;
}

#ifndef WITHOUT_OMSR
int OMSRdestruct(OmodOmsr *request) {
    for (int i = 0; i < request->count; ++i)
        free(request->names[i]);
    free(request);
    return 0;
}
#endif

struct OmodStats {
    int counters;
};

static int stats_construct(OmodStats **object) { return (*object = calloc(1, sizeof **object)) == NULL; }
static int stats_finalize(OmodStats *object) { return printf("stats %d counters\n", object->counters) < 0; }
static int stats_name(OmodStats *object, const uint8_t *name) { return object == NULL || printf("stats name %s\n", name) < 0; }
static int stats_destruct(OmodStats **object) {
    puts("stats gone");
    free(*object);
    *object = NULL;
    return 0;
}
static int stats_add(OmodStats *object, const uint8_t *name, int type, int8_t flags, void *counter) {
    printf("counter %s %d %d %llu\n", name, type, flags, *(unsigned long long *)counter);
    object->counters += 1;
    return 0;
}
static void trap(void) {
    puts("the wrong function was called");
    abort();
}

static int use_obj(const char *file, const char *name, const char *library, void *interface) {
    OmodStatsIf *stats = interface;
    int slot = stats_version == 13 ? 0 : stats_version <= 15 ? 1 : 2;
    (void)file;
    (void)library;
    if (strcmp(name, "glbl") == 0)
        return stats->ifVersion == (stats_version <= 15 ? 10 : 11) ? 0 : -2054;
    if (strcmp(name, "statsobj") != 0 || stats->ifVersion != stats_version) {
        stats->ifIsLoaded = 2;
        return -2054;
    }
    stats->Construct = stats_construct;
    stats->ConstructFinalize = stats_finalize;
    stats->Destruct = stats_destruct;
    stats->SetName = stats->SetOrigin = stats_name;
    for (int i = 0; i < 10; ++i)
        stats->moving[i] = i == slot ? (void *)stats_add : (void *)trap;
    return 0;
}

int objGetObjInterface(OmodObjIf *objects) {
    objects->UseObj = use_obj;
    return 0;
}

static int (*mod_init)(int, int *, OmodQueryEntry *, OmodHostQuery, void *);
static OmodQueryEntry query;

static void *entry(const char *name) {
    void *found = NULL;
    if (query(name, &found) != 0) {
        printf("no %s\n", name);
        exit(2);
    }
    return found;
}

static void *instance;
static int (*commit)(void *, OmodParam *, unsigned);
static int (*begin)(void *);

static void make_action(void) {
    OmodOmsr *request = NULL;
    int (*create)(uint8_t *, OmodNvlst *, void **, OmodOmsr **) = entry("newActInst");
    int (*activate)(void *) = entry("activateCnf");
    int code = create((uint8_t *)"omrust", NULL, &instance, &request);
    printf("newActInst %d %s\n", code, instance != NULL && request != NULL ? "both" : instance == NULL && request == NULL ? "none" : "half");
    if (code != 0) {
        puts("end");
        exit(0);
    }
    commit = entry("commitTransaction");
    begin = entry("beginTransaction");
    activate(NULL);
#ifndef WITHOUT_OMSR
    OMSRdestruct(request);
#endif
}

static void *make_worker(void) {
    void *worker = NULL;
    int (*create)(void **, void *) = entry("createWrkrInstance");
    printf("createWrkrInstance %d\n", create(&worker, instance));
    return worker;
}

static void order(void) {
    int (*free_instance)(void *) = entry("freeInstance");
    int (*free_worker)(void *) = entry("freeWrkrInstance");
    int (*hup)(void *) = entry("doHUP");
    OmodParam texts[] = {{(uint8_t *)"one", 4, 3}, {(uint8_t *)"no length", 10, 0}, {NULL, 0, 0}};
    make_action();
    void *first = make_worker(), *second = make_worker();
    printf("begin %d\n", begin(first));
    printf("commit %d\n", commit(first, texts, 3));
    hup(instance);
    printf("commit %d\n", commit(second, texts, 1));
    printf("freeInstance %d\n", free_instance(instance));
    printf("freeWrkrInstance %d\n", free_worker(first));
    printf("freeWrkrInstance %d\n", free_worker(second));
}

static void *work(void *worker) {
    OmodParam text = {(uint8_t *)"a record", 9, 8};
    for (;;) {
        begin(worker);
        commit(worker, &text, 1);
        pthread_testcancel();
    }
    return NULL;
}

static void cancel(void) {
    int (*free_worker)(void *) = entry("freeWrkrInstance");
    make_action();
    for (int i = 0; i < 5; ++i) {
        pthread_t thread;
        void *result = NULL, *worker = make_worker();
        pthread_create(&thread, NULL, work, worker);
        usleep(60000);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        printf("cancelled %d\n", result == PTHREAD_CANCELED);
        free_worker(worker);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 2 ? argv[2] : "";
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    int provided = 0, version = OMOD_INTERFACE;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (library == NULL) {
        printf("%s\n", argc > 1 ? dlerror() : "usage: see the source");
        return 2;
    }
    if (strcmp(what, "version") == 0)
        version = atoi(argv[3]);
    if (strcmp(what, "stats") == 0)
        stats_version = atoi(argv[3]);
    mod_init = dlsym(library, "modInit");
    int code = mod_init(version, &provided, &query, NULL, NULL);
    printf("modInit %d provides %d\n", code, provided);
    if (code != 0) {
        printf("dlclose %d\n", dlclose(library));
        return 0;
    }
    if (strcmp(what, "names") == 0) {
        for (int i = 3; i < argc; ++i) {
            void *found = &provided;
            int answer = query(argv[i], &found);
            printf("%s %d %s\n", argv[i], answer, found == NULL ? "null" : "there");
        }
    }
    parameters = argv + 3;
    parameter_count = argc - 3;
    if (strcmp(what, "stats") == 0) {
        static char *key[] = {"key=k"};
        parameters = key;
        parameter_count = 1;
        make_action();
        int (*free_instance)(void *) = entry("freeInstance");
        free_instance(instance);
    }
    if (strcmp(what, "order") == 0)
        order();
    if (strcmp(what, "cancel") == 0)
        cancel();
    puts("end");
    return 0;
}
