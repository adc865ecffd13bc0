/* Notifiers wake a machine from any thread. */
#ifndef ROTOR_CORE_NOTIFIER_H
#define ROTOR_CORE_NOTIFIER_H

#include "loop.h"

/* A machine's name that other threads may hold. Reference counted. */
typedef struct rotor_notifier rotor_notifier;

/* A notifier for a machine of `loop`; NULL when memory is short. Loop's thread only. To be released. */
rotor_notifier *rotor_notifier_new(rotor_loop *loop, rotor_handle machine);

/* Another reference to the same notifier, to be released on its own. Any thread. */
rotor_notifier *rotor_notifier_copy(rotor_notifier *n);

/* Give a reference back; NULL is fine. Any thread; also after the loop has ended. */
void rotor_notifier_release(rotor_notifier *n);

/* Have the machine's `wakeup` called in its loop's thread; any number of calls before that are one.
** What this thread wrote before is seen by that wakeup. Any thread, without locks. 0, also when the
** machine has ended (nothing happens then), or ROTOR_ECLOSED when its loop has. */
int rotor_wakeup(rotor_notifier *n);

#endif
