/** A ProcessSource over a made-up list of processes: for histories that no machine can be made to have. */
import {
  Field,
  type ProcessSource,
  ProcessTable,
  type ScanRequest,
  ThreadTable,
} from "../../src/proc/sources/source.ts";

export interface SimulatedProcess {
  pid: number;
  start: number;
  ppid: number;
  comm: string;
  /** Seconds. */
  cpu: number;
  readBytes: number;
  writeBytes: number;
  rss: number;
  vsize: number;
  state?: string;
  execMark?: number;
  denied?: number;
  threads?: readonly { tid: number; start: number; comm: string; cpu: number; state?: string }[];
}

export class SimulatedSource implements ProcessSource {
  readonly name = "procfs";
  readonly notes: readonly string[] = [];
  readonly processes = new ProcessTable();
  readonly threads = new ThreadTable();
  list: readonly SimulatedProcess[] = [];
  /** The next scan fails half way. */
  broken = false;

  scan(request: ScanRequest): void {
    this.processes.begin();
    if (request.threads) this.threads.begin();
    for (const process of this.list) {
      if (this.broken) {
        this.broken = false;
        this.processes.abandon();
        if (request.threads) this.threads.abandon();
        throw new Error("broken");
      }
      this.fill(process, request);
    }
    this.processes.end();
    if (request.threads) this.threads.end();
  }

  close(): void {}

  private fill(process: SimulatedProcess, request: ScanRequest): void {
    const row = this.processes.row(process.pid, process.start);
    const { columns } = this.processes;
    const denied = process.denied ?? 0;
    columns.valid[row] = (Field.base | Field.io | Field.swap | Field.switches | Field.files | Field.exec) & ~denied;
    columns.denied[row] = denied;
    columns.changed[row] = 1;
    columns.ppid[row] = process.ppid;
    columns.state[row] = (process.state ?? "S").charCodeAt(0);
    columns.threads[row] = process.threads?.length ?? 1;
    columns.utime[row] = process.cpu * 1e9;
    columns.stime[row] = 0;
    columns.readBytes[row] = process.readBytes;
    columns.writeBytes[row] = process.writeBytes;
    columns.residentBytes[row] = process.rss;
    columns.virtualBytes[row] = process.vsize;
    columns.execMark[row] = process.execMark ?? 1;
    const comm = Buffer.from(process.comm);
    this.processes.setComm(row, comm, 0, comm.length);
    if (!request.threads) return;
    for (const thread of process.threads ?? []) {
      const at = this.threads.row(thread.tid, thread.start);
      this.threads.columns.process[at] = row;
      this.threads.columns.state[at] = (thread.state ?? "S").charCodeAt(0);
      this.threads.columns.utime[at] = thread.cpu * 1e9;
      const name = Buffer.from(thread.comm);
      this.threads.setComm(at, name, 0, name.length);
    }
  }
}
