/** Tells the service manager how we are: sd_notify(3), by a datagram to the socket that NOTIFY_SOCKET names. */
import { ProcscopeError } from "../base/errors.ts";
import { notice } from "./output.ts";

/** Sends `READY=1`, `STOPPING=1`, `STATUS=…`. Nothing happens where no service manager asked for it. */
export async function notifyService(state: string): Promise<void> {
  const path = process.env["NOTIFY_SOCKET"];
  if (!path) return;
  try {
    const { sendDatagram } = await import("../kernel/unix-datagram.ts");
    sendDatagram(path, Buffer.from(state));
  } catch (error) {
    if (!(error instanceof ProcscopeError)) throw error;
    notice(`procscope: the service manager was not told ${state}: ${error.message}`);
  }
}
