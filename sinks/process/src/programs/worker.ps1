# Runs one PowerShell function for Dispatch.
#
# Started by the process engine with the path of a Unix-domain socket. Frames on it: a 32-bit big-endian length, then
# JSON. The first frame is {"load": {"folder", "handler", "maxResult"}}; every later one is a function message
# {"context", "payload"} and is answered with one. What the function writes to the host is its log; what it writes to
# the pipeline is its result.
param([Parameter(Mandatory)][string] $SocketPath)

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$utf8 = [System.Text.UTF8Encoding]::new($false)
[Console]::OutputEncoding = $utf8

$socket = [System.Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
$socket.Connect([System.Net.Sockets.UnixDomainSocketEndPoint]::new($SocketPath))
$stream = [System.Net.Sockets.NetworkStream]::new($socket, $true)

function Read-Bytes([int] $Count) {
    $bytes = [byte[]]::new($Count)
    $have = 0
    while ($have -lt $Count) {
        $more = $stream.Read($bytes, $have, $Count - $have)
        if ($more -le 0) { [Environment]::Exit(0) }
        $have += $more
    }
    return , $bytes
}

function Read-Frame {
    $head = Read-Bytes 4
    [Array]::Reverse($head)
    $utf8.GetString((Read-Bytes ([BitConverter]::ToInt32($head, 0))))
}

function Write-Frame([string] $Text) {
    [Console]::Out.Flush()
    [Console]::Error.Flush()
    $body = $utf8.GetBytes($Text)
    $head = [BitConverter]::GetBytes([int] $body.Length)
    [Array]::Reverse($head)
    $stream.Write($head, 0, 4)
    $stream.Write($body, 0, $body.Length)
    $stream.Flush()
}

function ConvertTo-Text($Value) {
    if ($null -eq $Value) { return 'null' }
    ConvertTo-Json -InputObject $Value -Depth 32 -Compress
}

function Format-Failure([string] $Kind, [string] $Message, $Record) {
    $lines = @()
    if ($null -ne $Record) {
        $lines = @($Record.ScriptStackTrace -split "`n" | Where-Object { $_ -notlike '*worker.ps1*' } | Select-Object -First 64)
    }
    $text = $Message.Substring(0, [Math]::Min($Message.Length, 8192))
    $failure = @{ type = $Kind; message = $text; stacktrace = $lines }
    '{"context":{"error":' + (ConvertTo-Text $failure) + '},"payload":null}'
}

$order = (Read-Frame | ConvertFrom-Json -AsHashtable).load
try {
    $file, $name = $order.handler -split '::', 2
    if (-not $name) { $name = 'handle' }
    if (-not $file) { $file = (Get-ChildItem -LiteralPath $order.folder -File | Select-Object -First 1).Name }
    $path = [System.IO.Path]::GetFullPath([System.IO.Path]::Combine($order.folder, $file))
    if (-not $path.StartsWith($order.folder + '/')) { throw "$file is outside the function's folder" }
    if (-not [System.IO.File]::Exists($path)) { throw "there is no file $file" }
    . $path
    $function = Get-Item -Path "function:$name" -ErrorAction SilentlyContinue
    if ($null -eq $function) { throw "$file has no function $name" }
} catch {
    Write-Frame (ConvertTo-Text @{ error = "$($_.Exception.Message)" })
    [Environment]::Exit(1)
}
Write-Frame '{"ok":true}'

while ($true) {
    $body = Read-Frame
    $answer = $null
    try {
        $message = $body | ConvertFrom-Json -AsHashtable
    } catch {
        $answer = Format-Failure 'InputError' "Invalid Input: $($_.Exception.Message)" $null
    }
    if ($null -eq $answer) {
        try {
            $text = ConvertTo-Text (& $function $message['context'] $message['payload'])
            $size = $utf8.GetByteCount($text)
            if ($size -gt $order.maxResult) {
                $answer = Format-Failure 'FunctionError' "the result has $size bytes; a result has at most $($order.maxResult)" $null
            } else {
                $answer = '{"context":{"error":null},"payload":' + $text + '}'
            }
        } catch [System.ArgumentException] {
            $answer = Format-Failure 'InputError' $_.Exception.Message $_
        } catch {
            $answer = Format-Failure 'FunctionError' $_.Exception.Message $_
        }
    }
    Write-Frame $answer
}
