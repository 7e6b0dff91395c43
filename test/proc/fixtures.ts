/** Files of a made-up process. */
export const statusFixture = `Name:\ta) R 1 (b
Umask:\t0022
State:\tS (sleeping)
Tgid:\t14804
Ngid:\t0
Pid:\t14804
PPid:\t10884
TracerPid:\t0
Uid:\t1000\t1001\t1002\t1003
Gid:\t1000\t1000\t1000\t1000
VmPeak:\t   16772 kB
VmSize:\t   16772 kB
VmHWM:\t    7876 kB
VmRSS:\t    7876 kB
VmSwap:\t      10 kB
Threads:\t7
voluntary_ctxt_switches:\t72
nonvoluntary_ctxt_switches:\t6
`;

export function readProcIoFields(read: number, write: number): string {
  return `rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: ${read}\nwrite_bytes: ${write}\ncancelled_write_bytes: 0\n`;
}
