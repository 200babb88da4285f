# Saves the modules that ./requirements.psd1 names, like @{ 'VMware.PowerCLI' = 'latest' }, into ./modules.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
New-Item -ItemType Directory -Path modules | Out-Null
foreach ($module in (Import-PowerShellDataFile requirements.psd1).GetEnumerator()) {
    $wanted = @{ Name = $module.Key; Path = 'modules'; Force = $true; AcceptLicense = $true }
    if ($module.Value -and $module.Value -ne 'latest') { $wanted.RequiredVersion = $module.Value }
    Save-Module @wanted
}
