"""pynetdicom as requestor, made fit for a server that answers at once."""

import threading
import time
from typing import Any


def steady(association: Any) -> Any:
    """The same association, which sends a request only when its own thread is known to pause.

    Else that thread, if it has not noticed yet that it is to pause, may take the response from whoever waits for it.
    """
    send = association.dimse.send_msg

    def send_msg(*arguments: Any, **keywords: Any) -> None:
        pausing = association._reactor_checkpoint._cond._waiters
        while threading.current_thread() is not association and not pausing and association.is_alive():
            time.sleep(0.001)
        send(*arguments, **keywords)

    association.dimse.send_msg = send_msg
    return association
